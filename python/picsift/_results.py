"""What the commands over tables of files give back, as objects."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from . import _picsift


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    done: int
    """Rows that are done, those of earlier runs of the same job among them."""
    total: int | None
    """Rows of the whole job, where that is known."""
    failures: int
    """Images of this run that failed."""
    seconds: float
    """Time since this run began to read."""


@dataclass(frozen=True)
class Manifest:
    """What a labelling job wrote: the content of the output's ``_picsift.json``, and where the output is."""

    output: str
    """The output folder, to be opened with any reader of Parquet."""
    rows: int
    """Rows written."""
    images: int
    """Rows with an image."""
    failures: int
    """Images without an answer."""
    asked: int
    """Images that the model was shown; the others failed, or their answers were known."""
    held: dict[str, int]
    """Rows for which each category held."""
    partial: str | None
    """Why rows are missing at the end, where a bound on images or time stopped the job."""
    failed_images: str | None
    """A Parquet file that says of each failed image why, if there is one."""
    files: list[str]
    """The files, below the output."""
    seconds: dict[str, float]
    """Where the time went: ``wall``, ``fetch``, ``decode``, ``model``."""
    document: dict[str, Any] = field(repr=False)
    """All of it, as it stands in the file."""


@dataclass(frozen=True)
class Part:
    """A part that is done of a job whose other parts are not."""

    output: str
    """The output folder, which is published by whoever does the last unit."""
    done: int
    """Units that are done, by all."""
    units: int
    """Units of the job."""


class Evaluation(dict[str, Any]):
    """What ``picsift eval --format json`` prints, as a dict; its text is the table for a terminal."""

    def __init__(self, document: dict[str, Any], table: str, markdown: str) -> None:
        super().__init__(document)
        self._table = table
        self._markdown = markdown

    @property
    def categories(self) -> list[dict[str, Any]]:
        """The figures of each category."""
        found: list[dict[str, Any]] = self["categories"]
        return found

    def markdown(self) -> str:
        """The report for the card of a model or data set."""
        return self._markdown

    def __str__(self) -> str:
        return self._table


class Lesson(dict[str, Any]):
    """What ``picsift teach --format json`` prints, as a dict; its text is the table for a terminal."""

    def __init__(self, document: dict[str, Any], table: str, output: str) -> None:
        super().__init__(document)
        self._table = table
        self.output = output
        """The file of heads."""

    @property
    def categories(self) -> list[dict[str, Any]]:
        """The figures of each category."""
        found: list[dict[str, Any]] = self["categories"]
        return found

    def __str__(self) -> str:
        return self._table


@dataclass(frozen=True)
class Sample:
    """A sample that was drawn."""

    output: str
    """The Parquet file."""
    rows: int
    """Rows in it."""
    labelled: str
    """The tables that it stands for."""
    categories: dict[str, tuple[int, int]]
    """Of each category the rows that were drawn for it, and those they stand for."""


@dataclass(frozen=True)
class Gallery:
    """Pages that were written."""

    output: str
    """The folder; open its ``index.html``."""
    rows: int
    """Rows that it shows."""
    without_picture: int
    """Rows without a picture."""
    bytes: int
    """Bytes of copies."""
    corrections: int
    """Corrections of the gallery that was there, which are kept."""

    def serve(self, port: int = 0) -> Served:
        """Shows it in a browser of this machine, where corrections are kept in its ``corrections.jsonl``.

        Args:
            port: Of the loopback address; 0 is any that is free.

        Raises:
            InputError: When the port is taken, or the folder holds no gallery.
        """
        return Served(_picsift.Served(self.output, port), self.output)


class Served:
    """A gallery that is shown on this machine until it is stopped; leaving a ``with`` block stops it too."""

    def __init__(self, native: _picsift.Served, output: str) -> None:
        self._native = native
        self.url: str = native.url
        """Where it is; whoever has this link sees it."""
        self.corrections = os.path.join(output, "corrections.jsonl")
        """The file of what is corrected, which :func:`picsift.label` and :func:`picsift.teach` take."""

    def __repr__(self) -> str:
        return f"<the gallery at {self.url}>" if self._native.running() else "<a gallery that was stopped>"

    def stop(self) -> None:
        """Stops it."""
        self._native.stop()

    def wait(self) -> None:
        """Waits until it is stopped, from elsewhere or by Ctrl-C here."""
        try:
            while self._native.running():
                time.sleep(0.1)
        except KeyboardInterrupt:
            self.stop()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class Export:
    """A data set that was written."""

    output: str
    """The folder."""
    pictures: int
    """Pictures in it."""
    classes: list[str]
    """Its classes."""
    bytes: int
    """Bytes of pictures."""
    splits: dict[str, int]
    """Pictures of each split."""
    left_out: dict[str, int]
    """Rows that were left out, by reason."""
