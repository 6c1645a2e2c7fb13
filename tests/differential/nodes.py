"""SQL as a tree that can be written in three ways.

Owns how a node becomes text; knows nothing of tables or of what makes a good query. The three dialects are

    PICSIFT   the query as a person writes it, with image calls
    PLAIN     for picsift too, but each call is a field of a struct that stands in the image's place: what DataFusion itself
              makes of the query
    DUCKDB    the same struct, in DuckDB
"""

import copy
from dataclasses import dataclass, field

PICSIFT, PLAIN, DUCKDB = "picsift", "plain", "duckdb"


class Node:
    """A part of a query."""

    def sql(self, dialect):
        raise NotImplementedError

    def slots(self):
        """(container, key) of each node below this one."""
        return []


@dataclass
class Sql(Node):
    """Text in which each `{}` is a part; `duckdb` is the text there, where it differs."""

    text: str
    parts: list = field(default_factory=list)
    duckdb: str | None = None

    def sql(self, dialect):
        text = self.duckdb if dialect == DUCKDB and self.duckdb is not None else self.text
        return text.format(*(part.sql(dialect) for part in self.parts))

    def slots(self):
        return [(self.parts, index) for index in range(len(self.parts))]


class Name(Sql):
    """A column."""


def _field(image, name, dialect):
    """A field of the struct in an image's place."""
    return f"{'get_field' if dialect == PLAIN else 'struct_extract'}({image}, '{name}')"


@dataclass
class Ask(Node):
    """A call about an image: `call` is a `calls.Call`."""

    call: object
    parts: list

    def sql(self, dialect):
        image = self.parts[0].sql(dialect)
        if dialect == PICSIFT:
            return self.call.text.format(image)
        return self.call.known.format(_field(image, self.call.name, dialect))

    def slots(self):
        return [(self.parts, 0)]


@dataclass
class Same(Node):
    """The image itself as a value that can be compared: its bytes or reference."""

    parts: list

    def sql(self, dialect):
        image = self.parts[0].sql(dialect)
        return image if dialect == PICSIFT else _field(image, "raw", dialect)

    def slots(self):
        return [(self.parts, 0)]


@dataclass
class Join(Node):
    """`kind` holds the words between the two sides, `condition` what follows the right one."""

    sides: list
    kind: str
    condition: list

    def sql(self, dialect):
        kind = self.kind
        if dialect == DUCKDB:
            kind = kind.replace("LEFT SEMI", "SEMI").replace("LEFT ANTI", "ANTI")
        left, right = (side.sql(dialect) for side in self.sides)
        rest = "".join(" " + part.sql(dialect) for part in self.condition)
        return f"{left} {kind} {right}{rest}"

    def slots(self):
        return [(self.sides, 0), (self.sides, 1)] + [(self.condition, i) for i in range(len(self.condition))]


@dataclass
class Select(Node):
    """One SELECT. `items` and `order` are lists of [node, suffix]."""

    items: list
    source: list = field(default_factory=list)
    where: list = field(default_factory=list)
    group: list = field(default_factory=list)
    having: list = field(default_factory=list)
    qualify: list = field(default_factory=list)
    distinct: list = field(default_factory=list)
    order: list = field(default_factory=list)
    limit: list = field(default_factory=list)

    def sql(self, dialect):
        def all_of(pairs, between=", "):
            return between.join(node.sql(dialect) + suffix for node, suffix in pairs)

        def each(nodes, between):
            return between.join(node.sql(dialect) for node in nodes)

        text = "SELECT " + (each(self.distinct, "") + " " if self.distinct else "") + all_of(self.items)
        if self.source:
            text += " FROM " + each(self.source, ", ")
        if self.where:
            text += " WHERE " + each(self.where, " AND ")
        if self.group:
            text += " GROUP BY " + each(self.group, "")
        if self.having:
            text += " HAVING " + each(self.having, " AND ")
        if self.qualify:
            text += " QUALIFY " + each(self.qualify, " AND ")
        if self.order:
            text += " ORDER BY " + all_of(self.order)
        return text + each(self.limit, "")

    def slots(self):
        pairs = [(pair, 0) for pair in self.items + self.order]
        lists = (self.source, self.where, self.group, self.having, self.qualify, self.distinct)
        return pairs + [(nodes, i) for nodes in lists for i in range(len(nodes))]

    def droppable(self):
        """The lists from which an entry can be left out."""
        return [self.items, self.where, self.having, self.qualify, self.distinct, self.limit]


@dataclass
class Union(Node):
    """Two SELECTs and the set operation between them, with an order and a limit of the whole."""

    sides: list
    op: str
    order: list = field(default_factory=list)
    limit: list = field(default_factory=list)

    def sql(self, dialect):
        left, right = (side.sql(dialect) for side in self.sides)
        text = f"({left}) {self.op} ({right})"
        if self.order:
            text += " ORDER BY " + ", ".join(node.sql(dialect) + suffix for node, suffix in self.order)
        return text + "".join(node.sql(dialect) for node in self.limit)

    def slots(self):
        return [(self.sides, 0), (self.sides, 1)]


@dataclass
class With(Node):
    """Common table expressions before a query: `named` is a list of [node, name]."""

    named: list
    body: list

    def sql(self, dialect):
        named = ", ".join(f"{name} AS ({node.sql(dialect)})" for node, name in self.named)
        return (f"WITH {named} " if named else "") + self.body[0].sql(dialect)

    def slots(self):
        return [(self.body, 0)] + [(pair, 0) for pair in self.named]


@dataclass
class Query:
    """All that is run for one number: views first, then the query.

    `ordered` says what the order of the rows must be: None for any, else the places of the columns whose values must follow
    each other alike, `()` for all of them.
    """

    views: list
    root: Node
    ordered: tuple | None = None

    def statements(self, dialect):
        """(statements before, the query, statements after)."""
        before = [f"CREATE OR REPLACE VIEW {name} AS {node.sql(dialect)}" for node, name in self.views]
        after = [f"DROP VIEW {name}" for _, name in reversed(self.views)]
        return before, self.root.sql(dialect), after

    def copy(self):
        return copy.deepcopy(self)


def walk(node):
    """The node and all below it."""
    yield node
    for container, key in node.slots():
        yield from walk(container[key])


def is_constant(node):
    """Whether it names no column."""
    return not any(isinstance(part, (Name, Select, Union)) for part in walk(node))
