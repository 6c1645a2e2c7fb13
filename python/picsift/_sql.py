"""SQL over tables and images: a connection, and relations that run when their rows are wanted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import _picsift
from ._errors import Error, InputError
from ._words import EngineOptions, Path, known, words

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Unpack

# Rows that `show` prints.
_SHOWN = 20


class Relation:
    """The rows of a query, which are made when they are asked for, and each time anew.

    Answers about images are kept, so that the model is not asked twice. It gives ``__arrow_c_stream__``, so that pyarrow, Polars,
    DuckDB and others take it as it is, a batch at a time.
    """

    def __init__(self, query: _picsift.Query, done: _picsift.Batches | None = None) -> None:
        self._query = query
        self._done = done

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [name for name, _ in self._query.columns()]

    @property
    def types(self) -> list[str]:
        """The types of the columns, in Arrow's words."""
        return [kind for _, kind in self._query.columns()]

    def _run(self) -> _picsift.Batches:
        # A statement that changes something has run, and does not run again because somebody looks.
        return self._query.run() if self._done is None else self._done

    def arrow(self) -> Any:
        """All rows as a ``pyarrow.Table``."""
        import pyarrow

        return pyarrow.table(self._run())

    def df(self) -> Any:
        """All rows as a data frame of pandas."""
        # What a frame said of its index is not true of a query's rows.
        return self.arrow().to_pandas(ignore_metadata=True)

    def pl(self) -> Any:
        """All rows as a data frame of Polars."""
        import polars

        return polars.DataFrame(self._run())

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows as tuples; for this nothing else need be installed."""
        return self._run().rows()

    def stream(self) -> Iterator[Any]:
        """The rows as batches of pyarrow, one at a time, each made when it is asked for."""
        import pyarrow

        reader = self._query.reader() if self._done is None else None
        if reader is None:
            yield from self.arrow().to_batches()
            return
        while (batch := reader.next()) is not None:
            yield from pyarrow.table(batch).to_batches()

    def show(self, rows: int = _SHOWN) -> None:
        """Prints the first rows; no more are made for it."""
        if self._done is not None:
            print(self._done.text())
            return
        print(self._query.limited(rows).run().text())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        if self._done is not None:
            return self._done.__arrow_c_stream__(requested_schema)
        return self._query.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in self._query.columns())
        return f"<picsift.Relation ({columns})>"


class Connection:
    """Tables, settings and a model that queries share."""

    def __init__(
        self,
        *,
        model: str | None = None,
        device: str | None = None,
        corrections: Path | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        known("connect", options, EngineOptions)
        said = words("sql", [], {"model": model, "device": device, "corrections": corrections, **options})
        self._session = _picsift.Session(said)
        # Variables are tables while their query is planned: another thread's of the same name must not be taken for them.
        self._planning = threading.RLock()

    def sql(self, query: str, params: Sequence[Any] | None = None) -> Relation:
        """Plans one statement; its rows are made when they are asked for.

        A name in FROM that no table has is a variable of the caller's: a table or data frame. What changes something, COPY or INSERT,
        runs at once, as do SET and CREATE.

        Args:
            query: The statement. Tables are paths and URLs in quotes, names of :meth:`register`, or variables.
            params: Values for ``$1``, ``$2`` and so on.

        Raises:
            InputError: For what is no statement, or names what is not there.
        """
        return self._sql(query, params, sys._getframe(1))

    def _sql(self, query: str, params: Sequence[Any] | None, caller: FrameType) -> Relation:
        with self._planning:
            variables: list[str] = []
            try:
                for name in self._session.unknown_tables(query):
                    found = _variable(name, caller)
                    if found is not None:
                        self._register(name, found, None)
                        variables.append(name)
                planned = self._session.prepare(query, [] if params is None else list(params))
            finally:
                # A plan keeps the tables that it is of; the next query looks its variables up again.
                for name in variables:
                    self._session.unregister(name)
        return Relation(planned, planned.run() if planned.is_change() else None)

    def register(self, name: str, table: Any, *, base: Path | None = None) -> Connection:
        """Gives a table a name.

        A table is anything that gives ``__arrow_c_stream__``, a data frame of pandas, a ``Dataset`` of ``datasets``, or a reader or data
        set of pyarrow, whose rows are read when a query wants them: of a reader once. What is in memory is not copied.

        Args:
            name: The name; queries may write it in small letters or large, as they do all names.
            table: The table.
            base: Folder or URL that relative references in it belong to; else the current folder.

        Raises:
            InputError: For what is no table.
        """
        self._register(name, table, base)
        return self

    def _register(self, name: str, table: Any, base: Path | None) -> None:
        folder = os.getcwd() if base is None else os.fspath(base)
        rows, reopen = _rows(name, table)
        for spelt in _spellings(name):
            self._session.register(spelt, rows, folder, reopen)

    def unregister(self, name: str) -> Connection:
        """Forgets the table of this name."""
        if not all([self._session.unregister(spelt) for spelt in _spellings(name)]):
            raise InputError(f"there is no table '{name}' to be forgotten")
        return self


def connect(
    *,
    model: str | None = None,
    device: str | None = None,
    corrections: Path | None = None,
    **options: Unpack[EngineOptions],
) -> Connection:
    """A connection, in which functions over images ask ``model``; it is loaded when it is first asked.

    Args:
        model: A name that ``picsift models`` lists, ``owner/name@revision``, or a folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        corrections: File of what people said, which wins over the model.
        **options: Model, limits, kept answers and fetching: see ``picsift._words.EngineOptions``.

    Raises:
        InputError: For an option that is wrong.
        ModelError: When the model is not known.
    """
    return Connection(model=model, device=device, corrections=corrections, **options)


_shared: dict[int, Connection] = {}


def sql(query: str, params: Sequence[Any] | None = None) -> Relation:
    """:meth:`Connection.sql` of a connection that a process shares, with the default model."""
    process = os.getpid()
    if process not in _shared:
        _shared[process] = connect()
    return _shared[process]._sql(query, params, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]


def _variable(name: str, frame: FrameType | None) -> Any:
    """The caller's variable of this name, if it is a table; SQL writes names without quotes in small letters."""
    if frame is None:
        return None
    for names in (frame.f_locals, frame.f_globals):
        spelt = [name, *(one for one in names if one != name and one.lower() == name)]
        found = next((names[one] for one in spelt if one in names and _is_table(names[one])), None)
        if found is not None:
            return found
    return None


def _spellings(name: str) -> set[str]:
    """A name as it stands in quotes, and as SQL reads it without."""
    return {name, name.lower()}


def _is_table(value: Any) -> bool:
    module = type(value).__module__.partition(".")[0]
    return hasattr(value, "__arrow_c_stream__") or module in ("pandas", "polars", "datasets", "pyarrow")


Reopen = Callable[[], Any]


def _rows(name: str, table: Any) -> tuple[Any, Reopen | None]:
    """What gives the rows of a table; or an empty table of its columns, and a function that opens it."""
    module = type(table).__module__.partition(".")[0]
    if module == "pandas":
        import pyarrow

        return pyarrow.Table.from_pandas(table, preserve_index=False), None
    if module == "polars" and hasattr(table, "collect"):
        return table.collect(), None
    if module == "datasets" and hasattr(table, "with_format"):
        return table.with_format("arrow")[:], None
    if module == "pyarrow" and hasattr(table, "scanner"):
        return table.schema.empty_table(), lambda: table.scanner().to_reader()
    if module == "pyarrow" and hasattr(table, "read_next_batch"):
        return table.schema.empty_table(), _once(name, table)
    if hasattr(table, "__arrow_c_stream__"):
        return table, None
    raise InputError(f"'{name}' cannot be a {type(table).__name__}: it gives no __arrow_c_stream__")


def _once(name: str, reader: Any) -> Reopen:
    left = [reader]

    def reopen() -> Any:
        if not left:
            raise Error(f"the reader '{name}' has been read; register it again, or a table")
        return left.pop()

    return reopen
