"""What a query's expressions can name: relations, their columns, and those of the query around.

Owns names and types; knows no SQL beyond `alias.column`.
"""

from dataclasses import dataclass, field

from data import TABLES
from nodes import Name

# Types: int, text, bool, score, list, size (unsigned), and images by how they are held: image:bytes, image:references:TABLE, ...

# References of several tables in one column.
MIXED = "image:references:mixed"


@dataclass(frozen=True)
class Column:
    name: str
    type: str

    @property
    def is_image(self):
        return self.type.startswith("image:")


@dataclass
class Relation:
    """One entry of a FROM. `unique` names columns that say which row it is, up to rows that are equal in all columns; None where
    no such columns are known."""

    alias: str
    columns: list
    unique: list | None
    base: str | None = None


@dataclass
class Scope:
    """Relations that can be named, from the inside out."""

    relations: list
    outer: "Scope | None" = None
    # Relations that make a bare name ambiguous, though none of their columns is to be used.
    beside: list = field(default_factory=list)

    def fields(self, wanted, near=True):
        """(relation, column) of each column of the type, or for which the function says so."""
        test = wanted if callable(wanted) else lambda column: column.type == wanted
        scope = self if near else self.outer
        found = []
        while scope:
            found += [(r, c) for r in scope.relations for c in r.columns if test(c)]
            scope = None if near else scope.outer
        return found

    def is_plain(self, column):
        """Whether the bare name means one column, here and around."""
        scope, seen = self, 0
        while scope:
            seen += sum(c.name == column.name for r in scope.relations + scope.beside for c in r.columns)
            scope = scope.outer
        return seen == 1


def base_columns(table):
    """The columns of a table."""
    kind = next(kind for name, _, kind in TABLES if name == table)
    image = f"image:{kind}:{table}" if kind == "references" else f"image:{kind}"
    plain = [("id", "int"), ("k", "int"), ("g", "text"), ("n", "int")]
    return [Column(name, kind) for name, kind in plain + [("image", image), ("image_b", image)]]


def name_of(relation, column, bare=False):
    """The column as an expression."""
    return Name(column.name if bare else f"{relation.alias}.{column.name}")
