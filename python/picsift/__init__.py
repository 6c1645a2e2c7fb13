"""picsift: label images with SQL.

Tables in Parquet, or in memory, that refer to images or hold them; an image model is asked about each picture, and the answers become
columns to train on. Three ways in:

- :func:`connect` and :func:`sql`: queries with ``classify(image, 'dog')`` in them,
- :func:`label`, and :func:`eval`, :func:`sample`, :func:`teach`, :func:`gallery`, :func:`export` of what it wrote: the commands;
  :func:`label_part`, :func:`status` and :func:`publish` where several programs label together,
- :class:`Labeler`: tables and pictures that a program has at hand, also within Ray, Daft, Spark and ``datasets``.
"""

from __future__ import annotations

from ._errors import Error, InputError, Interrupted, ModelError, PicsiftWarning
from ._jobs import eval, export, gallery, label, label_part, publish, sample, status, teach
from ._labeler import Found, Labeler
from ._picsift import version as _version
from ._process import main as _main
from ._results import Evaluation, Export, Gallery, Lesson, Manifest, Part, Progress, Sample, Served
from ._sql import Connection, Relation, connect, sql

__version__ = _version()

__all__ = [
    "Connection",
    "Error",
    "Evaluation",
    "Export",
    "Found",
    "Gallery",
    "InputError",
    "Interrupted",
    "Labeler",
    "Lesson",
    "Manifest",
    "ModelError",
    "Part",
    "PicsiftWarning",
    "Progress",
    "Relation",
    "Sample",
    "Served",
    "__version__",
    "connect",
    "eval",
    "export",
    "gallery",
    "label",
    "label_part",
    "publish",
    "sample",
    "sql",
    "status",
    "teach",
]

