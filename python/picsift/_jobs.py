"""The commands over tables of files: their arguments in, their outcome as objects."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Union

from . import _picsift
from ._errors import InputError, _tell
from ._results import Evaluation, Export, Gallery, Lesson, Manifest, Part, Progress, Sample
from ._words import EngineOptions, PartOptions, Path, Paths, ReadOptions, categories as _names, known, words

if TYPE_CHECKING:
    from typing_extensions import TypeAlias, Unpack


Watcher: TypeAlias = "Union[bool, Callable[[Progress], object], None]"


class _Bar:
    """A bar of tqdm's, where that is there and somebody looks."""

    def __init__(self, always: bool) -> None:
        self._bar: Any = None
        self._always = always

    def tell(self, done: int, total: int | None, failures: int, seconds: float) -> None:
        if self._bar is None:
            if not (self._always or sys.stderr.isatty() or "ipykernel" in sys.modules):
                return
            try:
                from tqdm.auto import tqdm  # pyright: ignore
            except ImportError:
                return
            self._bar = tqdm(total=total, initial=done, unit=" images")  # pyright: ignore
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if failures:
            self._bar.set_postfix(failed=failures)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Watch:
    """Whoever is told how far the work is, as the native half calls it."""

    def __init__(self, progress: Watcher) -> None:
        if progress is True and find_spec("tqdm") is None:
            raise InputError("progress=True shows a bar of tqdm's, which is not installed: pip install tqdm, or give a function")
        self._bar = None if callable(progress) or progress is False else _Bar(progress is True)
        self._to = progress if callable(progress) else None

    def __enter__(self) -> Callable[[int, int | None, int, float], object] | None:
        to = self._to
        if to is not None:
            return lambda *now: to(Progress(*now))
        return None if self._bar is None else self._bar.tell

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def label(
    inputs: Paths,
    output: Path,
    *,
    categories: Iterable[str] | str | None = None,
    categories_file: Path | None = None,
    heads: Path | None = None,
    model: str | None = None,
    device: str | None = None,
    threshold: float | None = None,
    prompt_style: str | None = None,
    image: str | None = None,
    sha256: str | None = None,
    embedding: bool = False,
    embed: bool = False,
    image_column: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    partition_by: str | list[str] | None = None,
    on_error: str | None = None,
    overwrite: bool = False,
    incremental: bool = False,
    retry_failed: bool = False,
    max_error_ratio: float | None = None,
    shard_rows: int | None = None,
    corrections: Path | None = None,
    max_images: int | None = None,
    max_seconds: float | None = None,
    cascade: str | None = None,
    min_recall: float | None = None,
    min_precision: float | None = None,
    confidence: float | None = None,
    max_asked: int | None = None,
    audit: float | None = None,
    answered_by: bool = False,
    progress: Watcher = None,
    **options: Unpack[EngineOptions],
) -> Manifest:
    """Labels the images of Parquet tables and writes the tables with the labels, as ``picsift label`` does.

    Every option means what the flag of the same name means (``picsift label --help``). Called again with the same arguments it goes on
    with a job that was stopped. Ctrl-C finishes and keeps what is under way; a second one stops at once.

    Args:
        inputs: Parquet files, folders or globs; local, or URLs.
        output: Folder that gets the labelled table, here or in a bucket.
        categories: Nouns to ask for, such as ``["fish", "polar bear"]``.
        categories_file: TOML file of categories.
        heads: File of what :func:`teach` learnt, by which its categories are answered.
        model: A name that ``picsift models`` lists, ``owner/name@revision``, or a folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        threshold: Score from which a category holds, 0 to 1.
        prompt_style: ``vendor`` or ``shared``, for models that read questions.
        image: Column of the images, if there is more than one candidate.
        sha256: Column of the SHA-256 that each image must have.
        embedding: Add the image as a vector.
        embed: Put the pictures themselves into the image column.
        image_column: ``keep`` or ``drop``.
        where: SQL predicate of the rows to label.
        limit: Most rows.
        partition_by: Columns whose values become folders, or ``label``.
        on_error: ``null`` or ``fail``.
        overwrite: Replace the output of an earlier run.
        incremental: Label only files that are new, and add their rows.
        retry_failed: Ask again only for images that failed.
        max_error_ratio: Stop when more than this share of the images fails.
        shard_rows: Rows that are written together and remembered.
        corrections: File of what people said, which wins over the model.
        max_images: Stop after asking about this many images.
        max_seconds: Stop this many seconds after the first image.
        cascade: A cheaper model that answers where it is sure enough; ``model`` is asked the rest.
        min_recall: Least share of the model's yeses that have to be found.
        min_precision: Least share of the yeses that the model has to agree with.
        confidence: Probability with which that holds.
        max_asked: Most images that the model is asked about, else an error.
        audit: Share of what the cheap model decides that the model is asked about all the same.
        answered_by: Add a column that says which model answered each category.
        progress: ``None`` shows a bar of tqdm's where somebody looks, ``True`` always, ``False`` never; a function is called with
            :class:`Progress` several times a second.
        **options: Model, limits, kept answers and fetching: see ``picsift._words.EngineOptions``.

    Raises:
        InputError: For what can be put right before an image is read; nothing was written.
        ModelError: When the model cannot be had.
        Interrupted: After Ctrl-C; what is done is kept.
        Error: For work that failed, also where all images did.
    """
    known("label", options, EngineOptions)
    said = words(
        "label",
        inputs,
        {
            "output": output,
            "categories_file": categories_file,
            "heads": heads,
            "model": model,
            "device": device,
            "threshold": threshold,
            "prompt_style": prompt_style,
            "image": image,
            "sha256": sha256,
            "embedding": embedding,
            "embed": embed,
            "image_column": image_column,
            "where": where,
            "limit": limit,
            "partition_by": partition_by,
            "on_error": on_error,
            "overwrite": overwrite,
            "incremental": incremental,
            "retry_failed": retry_failed,
            "max_error_ratio": max_error_ratio,
            "shard_rows": shard_rows,
            "corrections": corrections,
            "max_images": max_images,
            "max_seconds": max_seconds,
            "cascade": cascade,
            "min_recall": min_recall,
            "min_precision": min_precision,
            "confidence": confidence,
            "max_asked": max_asked,
            "audit": audit,
            "answered_by": answered_by,
            **options,
        },
    )
    with _Watch(progress) as tell:
        return _manifest(*_picsift.label(said, _names(categories), tell))


def _manifest(text: str, place: str, failed: str) -> Manifest:
    document: dict[str, Any] = json.loads(text)
    counts = document["counts"]
    return Manifest(
        output=place,
        rows=counts["rows"],
        images=counts["images"],
        failures=counts["failures"],
        asked=counts["asked"],
        held={one["name"]: one["held"] for one in document["categories"]},
        partial=document.get("partial"),
        failed_images=failed if counts["failures"] else None,
        files=[one["path"] for one in document["files"]],
        seconds=document["seconds"],
        document=document,
    )


def label_part(
    inputs: Paths,
    output: Path,
    *,
    shard: str | None = None,
    lease: float | None = None,
    categories: Iterable[str] | str | None = None,
    progress: Watcher = None,
    **options: Unpack[PartOptions],
) -> Manifest | Part:
    """Labels a part of a job that several programs do together, as ``picsift label --shard`` and ``--workers-share`` do.

    Call it with the same options in as many processes as there are, on any machines that reach the output. Whichever does the last unit
    publishes the output, and gets its manifest; the others get how far all are.

    Args:
        inputs: As for :func:`label`.
        output: As for :func:`label`; one place for all.
        shard: Which part of how many, ``"3/16"``; without it whatever nobody is at, until nothing is left.
        lease: Seconds without a sign of life after which what a process is at is taken over by another.
        categories: Nouns to ask for.
        progress: As for :func:`label`.
        **options: The other options of :func:`label`, less those that mean one program.

    Raises:
        InputError: Also for what differs from the others' job, by name.
        Error: Also for units that could not be done here; what is recorded stays.
    """
    known("label_part", options, PartOptions)
    share = {"shard": shard, "workers_share": shard is None, "lease": lease}
    said = words("label", inputs, {"output": output, **share, **options})
    with _Watch(progress) as tell:
        place, published, done, units = _picsift.part(said, _names(categories), tell)
    return Part(place, done, units) if published is None else _manifest(*published)


def publish(output: Path) -> Manifest:
    """Makes the output of what several programs have labelled, as ``picsift publish`` does; the last of them does it by itself.

    Raises:
        InputError: When units are left to do.
    """
    return _manifest(*_picsift.publish(words("publish", str(output), {})))


def status(output: Path) -> dict[str, Any]:
    """How far the work on an output is: what ``picsift status --format json`` prints.

    Raises:
        InputError: When there is neither an output nor work on one.
    """
    found: dict[str, Any] = json.loads(_picsift.status(words("status", str(output), {"format": "json"})))
    return found


def eval(
    inputs: Paths,
    *,
    truth: str | list[str] | None = None,
    truth_file: Path | None = None,
    key: str | None = None,
    sweep: bool = False,
    min_precision: float | None = None,
    min_recall: float | None = None,
    categories_file: Path | None = None,
    mistakes: int | None = None,
    seed: int | None = None,
) -> Evaluation:
    """Judges the labels of a table against the truth, as ``picsift eval`` does.

    Args:
        inputs: Outputs of :func:`label`, or tables with columns ``is_...`` and ``score_...``.
        truth: What is true: a column of labels, a BOOLEAN column for a single category, ``CATEGORY=COLUMN``, or a pattern such as
            ``truth_{}``.
        truth_file: A table that has the truth.
        key: Column that says which row is which, in both tables or as ``LABELLED=TRUTH``.
        sweep: Look for better thresholds.
        min_precision: Of thresholds with this precision the one with the most recall.
        min_recall: Of thresholds with this recall the one with the most precision.
        categories_file: Write the thresholds that were found into this file, which :func:`label` takes.
        mistakes: Worst mistakes kept for each category.
        seed: Seed of the bootstrap.

    Raises:
        InputError: For tables or a truth that do not fit.
    """
    said = words(
        "eval",
        inputs,
        {
            "truth": truth,
            "truth_file": truth_file,
            "key": key,
            "sweep": sweep,
            "min_precision": min_precision,
            "min_recall": min_recall,
            "categories_file": categories_file,
            "mistakes": mistakes,
            "seed": seed,
        },
    )
    text, table, markdown, _ = _picsift.evaluate(said)
    return Evaluation(json.loads(text), table, markdown)


def sample(
    inputs: Paths,
    output: Path,
    *,
    per_category: int | None = None,
    by: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
) -> Sample:
    """Draws a small table to annotate, with weights by which :func:`eval` judges the whole one, as ``picsift sample`` does.

    Args:
        inputs: Outputs of :func:`label`, or tables with columns ``is_...`` and ``score_...``.
        output: Parquet file that gets the sample.
        per_category: Rows to draw for each category.
        by: ``uncertainty``, ``random`` or ``stratified``.
        seed: Seed of the draw.
        overwrite: Replace the file.

    Raises:
        InputError: For tables that do not fit.
    """
    said = words(
        "sample",
        inputs,
        {
            "output": output,
            "per_category": per_category,
            "by": by,
            "seed": seed,
            "overwrite": overwrite,
        },
    )
    rows, labelled, drawn, notes = _picsift.draw(said)
    _log(notes)
    by_name = {name: (some, of) for name, some, of in drawn}
    return Sample(str(output), rows, labelled, by_name)


def teach(
    inputs: Paths,
    output: Path,
    *,
    truth: str | list[str] | None = None,
    corrections: Path | None = None,
    categories: Iterable[str] | str | None = None,
    categories_file: Path | None = None,
    model: str | None = None,
    device: str | None = None,
    image: str | None = None,
    base: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    **options: Unpack[EngineOptions],
) -> Lesson:
    """Teaches categories of one's own, into a file of heads that :func:`label` answers by, as ``picsift teach`` does.

    Args:
        inputs: Outputs of :func:`label`, or any tables with images.
        output: File that gets what was learnt.
        truth: What is true, as for :func:`eval`; or a column of numbers from 0 to 1 for a single category.
        corrections: File of what people said, in the place of a truth.
        categories: Categories to teach.
        categories_file: TOML file of categories to teach.
        model: A model that embeds images.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        image: Column of the images.
        base: Folder or URL that relative references are relative to.
        seed: Seed of intervals.
        overwrite: Replace the file.
        **options: Model, limits, kept answers and fetching: see ``picsift._words.EngineOptions``.

    Raises:
        InputError: For tables, a truth or a model that do not fit; nothing was written.
        ModelError: When the model cannot be had.
    """
    known("teach", options, EngineOptions)
    names = _names(categories)
    for name in names:
        if "," in name:
            raise InputError(f"categories: '{name}' holds a comma, which separates values")
    said = words(
        "teach",
        inputs,
        {
            "output": output,
            "truth": truth,
            "corrections": corrections,
            "categories": ",".join(names) or None,
            "categories_file": categories_file,
            "model": model,
            "device": device,
            "image": image,
            "base": base,
            "seed": seed,
            "overwrite": overwrite,
            **options,
        },
    )
    text, table = _picsift.learn(said)
    lesson = Lesson(json.loads(text), table, os.fspath(output))
    _log(lesson["notes"])
    return lesson


def gallery(
    inputs: Paths,
    output: Path,
    *,
    overwrite: bool = False,
    title: str | None = None,
    image: str | None = None,
    base: str | None = None,
    limit: int | None = None,
    pictures: bool | None = None,
    truth: str | list[str] | None = None,
    truth_file: Path | None = None,
    key: str | None = None,
    progress: Watcher = None,
    **options: Unpack[ReadOptions],
) -> Gallery:
    """Makes static pages of a labelled table, as ``picsift gallery`` does; the command shows them with ``--serve``.

    Args:
        inputs: Output of :func:`label`, or a table with columns ``is_...`` and ``score_...``.
        output: Folder that gets the pages.
        overwrite: Replace an earlier gallery; corrections stay.
        title: What the pages are headed.
        image: Column of the images.
        base: Folder or URL that relative references are relative to.
        limit: Show at most this many rows.
        pictures: Make larger copies too; ``None`` does up to 2,000 rows.
        truth: As in :func:`eval`, if disagreement shall be looked for.
        truth_file: As in :func:`eval`.
        key: As in :func:`eval`.
        progress: As in :func:`label`.
        **options: Limits and fetching: see ``picsift._words.ReadOptions``.

    Raises:
        InputError: For tables or an output that do not fit.
        Interrupted: After Ctrl-C; nothing was written.
    """
    known("gallery", options, ReadOptions)
    said = words(
        "gallery",
        inputs,
        {
            "output": output,
            "overwrite": overwrite,
            "title": title,
            "image": image,
            "base": base,
            "limit": limit,
            "pictures": pictures is True,
            "no_pictures": pictures is False,
            "truth": truth,
            "truth_file": truth_file,
            "key": key,
            **options,
        },
    )
    with _Watch(progress) as tell:
        rows, without, size, _, corrections, notes = _picsift.show(said, tell)
    _log(notes)
    return Gallery(str(output), rows, without, size, corrections)


def export(
    inputs: Paths,
    output: Path,
    *,
    format: str,
    overwrite: bool = False,
    split: str | Mapping[str, float] | None = None,
    seed: int | None = None,
    label: str | None = None,
    keep_unlabelled: bool = False,
    max_per_class: int | None = None,
    balance: bool = False,
    image: str | None = None,
    base: str | None = None,
    evaluation: Path | None = None,
    shard_bytes: int | None = None,
    **options: Unpack[ReadOptions],
) -> Export:
    """Writes a labelled table as a data set to train on, as ``picsift export`` does.

    Args:
        inputs: Outputs of :func:`label`, or tables with columns ``is_...`` and ``label``.
        output: Folder that gets it.
        format: ``webdataset``, ``imagefolder`` or ``hf``.
        overwrite: Replace an earlier export.
        split: Splits and their shares, ``{"train": 0.9, "test": 0.1}``; the same picture is never in two of them.
        seed: Seed of splits and of what is kept of a class.
        label: Column of the class.
        keep_unlabelled: Keep pictures without a label, as a class ``unlabelled``.
        max_per_class: Keep at most this many pictures of each class.
        balance: Keep of each class as many as the smallest has.
        image: Column of the images.
        base: Folder or URL that relative references are relative to.
        evaluation: File with what ``picsift eval --format json`` printed, for the card.
        shard_bytes: Bytes of pictures in one file, about.
        **options: Limits and fetching: see ``picsift._words.ReadOptions``.

    Raises:
        InputError: For tables or an output that do not fit.
        Interrupted: After Ctrl-C; nothing was written.
    """
    known("export", options, ReadOptions)
    if isinstance(split, Mapping):
        split = ",".join(f"{name}={share}" for name, share in split.items())
    said = words(
        "export",
        inputs,
        {
            "format": format,
            "output": output,
            "overwrite": overwrite,
            "split": split,
            "seed": seed,
            "label": label,
            "keep_unlabelled": keep_unlabelled,
            "max_per_class": max_per_class,
            "balance": balance,
            "image": image,
            "base": base,
            "evaluation": evaluation,
            "shard_bytes": shard_bytes,
            **options,
        },
    )
    pictures, classes, size, splits, left_out, notes = _picsift.write(said)
    _log(notes)
    return Export(str(output), pictures, classes, size, dict(splits), dict(left_out))


def _log(notes: list[str]) -> None:
    for note in notes:
        _tell(note)
