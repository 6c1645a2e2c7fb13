"""Errors and warnings, each with the sentence that the command prints."""

from __future__ import annotations

import logging
import warnings

_log = logging.getLogger("picsift")


class Error(Exception):
    """The work failed; the sentence says what is wrong and what would be right."""


class InputError(Error, ValueError):
    """What was asked for cannot be done so: an option, a table or a query is wrong, and nothing was written."""


class ModelError(Error):
    """A model is not known, not at hand, or cannot be loaded so."""


class Interrupted(Error, KeyboardInterrupt):
    """Ctrl-C ended the work; the sentence says what is kept and how to go on. It is a ``KeyboardInterrupt`` too."""


class PicsiftWarning(UserWarning):
    """The work is done, and something about it should be known: images that could not be read, say."""


def _tell(note: str) -> None:
    """Passes on what the command would print beside its results: a warning as such, the rest to the log ``picsift``."""
    if note.startswith("warning: "):
        warnings.warn(note.removeprefix("warning: "), PicsiftWarning, stacklevel=3)
    else:
        _log.info("%s", note.removeprefix("note: "))
