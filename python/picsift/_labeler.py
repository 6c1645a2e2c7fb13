"""Categories and a model as an object, for tables and pictures that a program has at hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from . import _picsift
from ._errors import InputError
from ._pictures import Source, is_picture, name, source
from ._words import EngineOptions, Path, categories as _names, known, words

if TYPE_CHECKING:
    from typing_extensions import Unpack

Table = TypeVar("Table")

# Pictures that are turned into bytes at once.
_TOGETHER = 256


class Found(TypedDict):
    """What was found out about a picture."""

    label: str | None
    """The best category that holds; ``None`` where none does."""
    labels: list[str] | None
    """All categories that hold."""
    answers: dict[str, bool] | None
    """Of each category whether it holds."""
    scores: dict[str, float] | None
    """Of each category its score, 0 to 1."""
    error: str | None
    """Why the picture has no answers."""


class Labeler:
    """Labels tables in memory and pictures by the same questions as :func:`picsift.label` does files.

    It pickles as its options, so that it can be sent to the workers of Ray, Daft, Spark or ``multiprocessing``; labellers with equal
    limits share their loaded model in a process. Threads may share one. In a process that was forked before the first call it loads its
    own model; in one that was forked after it, it says so: start such workers by ``spawn`` or ``forkserver``.
    """

    def __init__(
        self,
        categories: Iterable[str] | str | None = None,
        *,
        categories_file: Path | None = None,
        heads: Path | None = None,
        model: str | None = None,
        device: str | None = None,
        threshold: float | None = None,
        prompt_style: str | None = None,
        image: str | None = None,
        sha256: str | None = None,
        embedding: bool = False,
        image_column: str | None = None,
        on_error: str | None = None,
        corrections: Path | None = None,
        base: Path | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        """A labeller; the model is looked up here, and loaded for the first picture.

        Args:
            categories: Nouns to ask for, such as ``["fish", "polar bear"]``.
            categories_file: TOML file of categories.
            heads: File of what :func:`picsift.teach` learnt, by which its categories are answered.
            model: A name that ``picsift models`` lists, ``owner/name@revision``, or a folder.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
            threshold: Score from which a category holds, 0 to 1.
            prompt_style: ``vendor`` or ``shared``, for models that read questions.
            image: Column of the images in tables, if there is more than one candidate.
            sha256: Column of the SHA-256 that each image of a table must have.
            embedding: Add to tables the image as a vector.
            image_column: ``keep`` or ``drop`` in what is returned of a table.
            on_error: ``null``, by which a picture that cannot be read has no answers, or ``fail``, by which it raises.
            corrections: File of what people said, which wins over the model. Of a table it adds the column ``label_source``. A picture by
                itself is known to it by its path, by what of that is below ``base``, or by its content.
            base: Folder or URL that relative references in tables belong to; else the current folder of the process that labels.
            **options: Model, limits, kept answers and fetching: see ``picsift._words.EngineOptions``.

        Raises:
            InputError: When the model does not know a category, or an option is wrong.
            ModelError: When the model is not known.
        """
        known("Labeler", options, EngineOptions)
        self._options: dict[str, Any] = {
            "categories": _names(categories),
            "categories_file": categories_file,
            "heads": heads,
            "model": model,
            "device": device,
            "threshold": threshold,
            "prompt_style": prompt_style,
            "image": image,
            "sha256": sha256,
            "embedding": embedding,
            "image_column": image_column,
            "on_error": on_error,
            "corrections": corrections,
            "base": base,
            **options,
        }
        flags = {key: value for key, value in self._options.items() if key not in ("categories", "base")}
        # A labeller reads no files and writes none.
        said = words("label", "-", {"output": "-", **flags})
        folder = os.getcwd() if base is None else os.fspath(base)
        self._native = _picsift.Labeler(said, self._options["categories"], folder)

    def __reduce__(self) -> tuple[object, ...]:
        return (_made, (self._options,))

    def __repr__(self) -> str:
        said = (f"{key}={value!r}" for key, value in self._options.items() if value not in (None, False))
        return f"Labeler({', '.join(said)})"

    @property
    def categories(self) -> list[str]:
        """The names of the categories, in the order of their columns."""
        return self._native.categories()

    def load(self) -> None:
        """Loads the model now instead of for the first picture."""
        self._native.load()

    def __call__(self, table: Any) -> Any:
        """Labels a table: the same rows with the columns that :func:`picsift.label` adds.

        Anything that gives ``__arrow_c_stream__`` is a table: of pyarrow, Polars, DuckDB and others; and pandas' data frames and dicts of
        columns, which Ray and ``datasets`` hand to functions. Images are bytes, structs of ``datasets``, or paths and URLs; their bytes
        are not copied. It returns a ``pyarrow.Table``; for a data frame of pandas or Polars one of those, for a dict a dict.

        Raises:
            InputError: For a table without images, or with columns that would be overwritten twice.
        """
        kind = type(table).__module__.partition(".")[0]
        if isinstance(table, Mapping):
            return self._columns(table)
        if kind == "pandas":
            import pandas
            import pyarrow

            arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
            labelled = pyarrow.table(self._native.table(arrow))
            # The frame's own columns stay as they are, types and all.
            kept = [name for name in table.columns if str(name) in labelled.column_names]
            added = [name for name in labelled.column_names if name not in arrow.column_names]
            answers = labelled.select(added).to_pandas(ignore_metadata=True).set_axis(table.index)
            return pandas.concat([table[kept], answers], axis=1)
        if kind == "polars":
            import polars

            frame = table.collect() if hasattr(table, "collect") else table
            return polars.DataFrame(self._native.table(frame))
        labelled = self._native.table(table)
        try:
            import pyarrow
        except ImportError:
            return labelled
        return pyarrow.table(labelled)

    def _columns(self, table: Mapping[str, Any]) -> dict[str, Any]:
        import pyarrow

        asked = self._options["image"]
        if asked is None:
            some = {key: next((one for one in column if one is not None), None) for key, column in table.items()}
            likely = [key for key, one in some.items() if is_picture(one) and not isinstance(one, str)]
            if len(likely) == 1:
                asked = likely[0]
        # What is a picture only here is its bytes in a table, where it has the name alone in common with the column.
        given: dict[str, Any] = {}
        for key, column in table.items():
            if key == asked:
                values = [None if one is None else source(one) for one in column]
                given[key] = values
            elif key != asked:
                given[key] = column if hasattr(column, "__arrow_c_array__") else list(column)
        arrow = pyarrow.table(given)
        labelled = pyarrow.table(self._native.table(arrow))
        added = {key: labelled[key].to_pylist() for key in labelled.column_names if key not in given}
        kept = {key: column for key, column in table.items() if key in labelled.column_names}
        return {**kept, **added}

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Labels batches of pyarrow one after another, as ``mapInArrow`` of Spark wants it."""
        import pyarrow

        for batch in batches:
            table = pyarrow.Table.from_batches([batch])
            yield from self(table).to_batches()

    def schema(self, schema: Any) -> Any:
        """The columns of a labelled table of pyarrow whose columns are those of ``schema``."""
        return self(schema.empty_table()).schema

    def label_image(self, picture: Any) -> Found:
        """Labels one picture.

        It is a path or URL, bytes, an image of Pillow, an array of NumPy or a tensor of torch of uint8 (height x width x channels, or
        channels first).

        Raises:
            Error: Where ``on_error`` is ``fail`` and the picture cannot be read.
        """
        return self._native.images([source(picture)])[0]

    def label_images(self, pictures: Iterable[Any] | Mapping[str, Any]) -> dict[str, Found]:
        """Labels pictures, several at a time: a dict by file name.

        Pictures without a name are called by their places, ``"0"`` and so on; of a dict the keys are the names.

        Raises:
            Error: As :meth:`label_image`.
        """
        found: dict[str, Found] = {}
        for names, sources in _chunks(pictures):
            found.update(zip(names, self._native.images(sources)))
        return found

    async def alabel_image(self, picture: Any) -> Found:
        """:meth:`label_image` for asyncio: other tasks run meanwhile."""
        return (await self._begin([source(picture)]))[0]

    async def alabel_images(self, pictures: Iterable[Any] | Mapping[str, Any]) -> dict[str, Found]:
        """:meth:`label_images` for asyncio: other tasks run meanwhile, and one that is cancelled ends its work."""
        found: dict[str, Found] = {}
        for names, sources in _chunks(pictures):
            found.update(zip(names, await self._begin(sources)))
        return found

    async def _begin(self, sources: list[Source]) -> list[Found]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Found]] = loop.create_future()

        def settle(found: list[Found] | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif found is not None:
                future.set_result(found)

        def tell(found: list[Found] | None, error: BaseException | None) -> None:
            # A loop that is closed waits for nothing.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, found, error)

        work = self._native.begin(sources, tell)
        try:
            return await future
        except asyncio.CancelledError:
            work.cancel()
            raise


def _made(options: dict[str, Any]) -> Labeler:
    return Labeler(**options)


def _chunks(pictures: Iterable[Any] | Mapping[str, Any]) -> Iterator[tuple[list[str], list[Source]]]:
    if isinstance(pictures, (str, bytes)):
        raise InputError("several pictures are wanted; one by itself is for label_image")
    named = pictures.items() if isinstance(pictures, Mapping) else ((None, one) for one in pictures)
    names: list[str] = []
    sources: list[Source] = []
    for place, (key, picture) in enumerate(named):
        names.append(name(picture, place) if key is None else str(key))
        sources.append(source(picture))
        if len(sources) == _TOGETHER:
            yield names, sources
            names, sources = [], []
    if sources:
        yield names, sources
