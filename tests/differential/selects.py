"""Random queries: what is selected, grouped, sorted, cut and put together.

Owns the shapes of queries. A query that is cut by LIMIT, or numbers its rows, sorts by columns that tell all rows apart, so that there
is one right answer.
"""

from nodes import PICSIFT, Select, Sql, Union, is_constant, walk
from scope import MIXED, Column, Relation, Scope, name_of
from sources import Sources

TYPES = ((5, "bool"), (4, "text"), (4, "int"), (1, "score"), (1, "list"))
# Aggregates that judge answers, and what they mean.
JUDGED = [
    ("precision", "(CAST(count(*) FILTER (WHERE {0} AND {1}) AS DOUBLE) / nullif(count(*) FILTER (WHERE {1} AND {0} IS NOT NULL), 0))"),
    ("recall", "(CAST(count(*) FILTER (WHERE {0} AND {1}) AS DOUBLE) / nullif(count(*) FILTER (WHERE {0} AND {1} IS NOT NULL), 0))"),
]
NULLS = ["", "", " NULLS FIRST", " NULLS LAST"]


class Selects(Sources):
    """Draws SELECTs: each gives (node, columns, unique columns, rows at most)."""

    def select(self, depth, outer=None, derived=False):
        shape = self.pick((9, self.rows), (6, self.groups), (4, self.windows), (2, self.distinct), (3, self.united))
        return shape(depth, outer, derived)

    def where(self, scope, depth):
        """Conjuncts of a WHERE."""
        before, self.filtering = self.filtering, True
        drawn = [self.bool(scope, self.pick((3, 0), (3, 1), (1, 2)) if depth else 0) for _ in range(self.pick((4, 0), (4, 1), (1, 2)))]
        if depth and self.chance(0.25):
            drawn.append(self.subquery("bool", scope, depth, inside=False))
        self.filtering = before
        return drawn

    def suffix(self):
        return self.rng.choice(["", " ASC", " DESC"]) + self.rng.choice(NULLS)

    def items(self, scope, depth, least=1):
        """Random items with names of their own."""
        items, columns = [], []
        for _ in range(self.rng.randint(least, 3)):
            kind = self.pick(*TYPES)
            name = self.name(self.rng.choice(["c", "fish"]))
            items.append([self.of(kind, scope, self.rng.randint(0, 2) if depth else 1), f" AS {name}"])
            columns.append(Column(name, kind))
        return items, columns

    def cut(self, select, keys, scope):
        """Sorts and cuts a derived query now and then."""
        if keys is None or not self.chance(0.2):
            return
        # A bare name could be that of a result's column.
        bare, self.bare = self.bare, 0
        first = self.sort_key(scope, 1) if self.chance(0.7) else None
        self.bare = bare
        select.order = ([[first, self.suffix()]] if first else []) + [[name_of(r, c), self.suffix()] for r, c in keys]
        select.limit = [self.limit()]

    def limit(self):
        offset = f" OFFSET {self.rng.choice([0, 1, 3, 10])}" if self.chance(0.35) else ""
        return Sql(f" LIMIT {self.rng.choice([0, 1, 2, 3, 5, 8, 17, 100])}{offset}")

    def rows(self, depth, outer=None, derived=False):
        source, scope, rows = self.source(depth, outer)
        items, columns = self.items(scope, depth)
        more, known, unique = self.exported(scope, derived or self.chance(0.05) and rows < 100)
        select = Select(more + items, [source], self.where(scope, depth))
        if derived:
            self.cut(select, self.uniques(scope), scope)
        self.scopes[id(select)] = scope
        return select, known + columns, unique, rows

    def windows(self, depth, outer=None, derived=False):
        source, scope, rows = self.source(depth, outer)
        more, known, unique = self.exported(scope, derived)
        keys = self.uniques(scope)
        items, columns = self.items(scope, depth, 0)
        for _ in range(self.rng.randint(1, 2)):
            node, kind = self.window(scope, keys, derived)
            columns.append(Column(self.name("w"), kind))
            items.append([node, f" AS {columns[-1].name}"])
        select = Select(more + items, [source], self.where(scope, depth))
        if self.chance(0.15):
            node, kind = self.window(scope, keys)
            tests = {"int": "({} <= 2)", "bool": "({} IS NOT FALSE)", "text": "({} <> 'x')"}
            select.qualify = [Sql(tests[kind], [node])]
        self.scopes[id(select)] = scope
        return select, known + columns, unique, rows

    def window(self, scope, keys, images=False):
        """(node, type) of a window, with `images` of an image too."""
        # DuckDB takes a subquery in a window for something that may change.
        before, self.fetched = self.fetched, 0
        drawn = self.drawn_window(scope, keys, images)
        self.fetched = before
        return drawn

    def drawn_window(self, scope, keys, images):
        """The same."""
        parts = []
        over = ""
        if self.chance(0.6):
            over += "PARTITION BY {} "
            parts.append(self.of(self.pick((2, "bool"), (2, "text"), (1, "int")), scope, self.rng.randint(0, 1)))
        first = self.sort_key(scope, self.rng.randint(0, 1)) if self.chance(0.7) else None
        by = [(first, self.suffix())] if first else []
        total = by + [(name_of(r, c), self.suffix()) for r, c in keys or []]
        shapes = ["whole", "filter"] + (["rank"] if by else []) + (["number", "lag", "running", "frame"] if keys else [])
        if images and keys and self.grouped_images(scope):
            shapes += ["image", "image"]
        shape = self.rng.choice(shapes)
        order = {"whole": [], "filter": [], "rank": by}.get(shape, total)
        if order:
            over += "ORDER BY " + ", ".join("{}" + suffix for _, suffix in order)
            parts += [node for node, _ in order]
        if shape == "frame":
            over += " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"
        if shape == "image":
            image = self.rng.choice(self.grouped_images(scope))
            name = self.rng.choice(["lag({}, 1)", "first_value({})", "last_value({})"])
            return Sql(f"{name} OVER ({over})", [name_of(*image)] + parts), image[1].type
        if shape == "rank":
            return Sql(self.rng.choice(["rank", "dense_rank"]) + f"() OVER ({over})", parts), "int"
        if shape == "number":
            return Sql(f"row_number() OVER ({over})", parts), "int"
        if shape == "lag":
            kind = self.pick((2, "bool"), (2, "text"), (1, "int"))
            name = self.rng.choice(["lag({}, 1)", "lead({}, 2)", "first_value({})"])
            return Sql(f"{name} OVER ({over})", [self.of(kind, scope, 1)] + parts), kind
        if shape == "filter":
            return Sql(f"count(*) FILTER (WHERE {{}}) OVER ({over})", [self.bool(scope, 1)] + parts), "int"
        summed = self.rng.choice(["sum({})", "count({})", "max({})"])
        return Sql(f"{summed} OVER ({over})", [self.int(scope, 1)] + parts), "int"

    def distinct(self, depth, outer=None, derived=False):
        source, scope, rows = self.source(depth, outer)
        keys = self.uniques(scope)
        if keys and self.chance(0.3):
            bare, self.bare = self.bare, 0
            on = [self.sort_key(scope, 0) or name_of(*keys[0])]
            self.bare = bare
            items, columns = self.items(scope, 0)
            more, known, unique = self.exported(scope, derived)
            # DataFusion panics where a key comes twice.
            rest = [name_of(r, c) for r, c in keys]
            order = [[node, self.suffix()] for node in on + [node for node in rest if node.text != on[0].sql(PICSIFT)]]
            select = Select(more + items, [source], self.where(scope, depth), distinct=[Sql("DISTINCT ON ({})", on)], order=order)
            return select, known + columns, unique, rows
        items, columns = self.items(scope, depth)
        unique = [column.name for column in columns]
        if derived and self.chance(0.5):
            kept = [Relation(r.alias, [c for c in r.columns if c.type != MIXED], []) for r in scope.relations]
            more, known, _ = self.exported(Scope(kept))
            items, columns, unique = items + more, columns + known, None if more else unique
        return Select(items, [source], self.where(scope, depth), distinct=[Sql("DISTINCT")]), columns, unique, rows

    def aggregate(self, scope, keys):
        """(node, type) of an aggregate."""
        only = " FILTER (WHERE {})" if self.chance(0.3) else ""
        more = [self.bool(scope, 0)] if only else []
        shape = self.rng.randrange(13 if keys else 12)
        if shape == 11:
            name, duckdb = self.rng.choice(JUDGED)
            return Sql(f"{name}({{0}}, {{1}})", [self.bool(scope, 0), self.bool(scope, 0)], duckdb), "score"
        if shape < 2:
            return Sql("count(*)" + only, more), "int"
        if shape == 2:
            return Sql("count({})" + only, [self.of(self.pick(*TYPES[:3]), scope, 1)] + more), "int"
        if shape == 3:
            return Sql("count(DISTINCT {})" + only, [self.of(self.pick(*TYPES[:3]), scope, 1)] + more), "int"
        if shape < 6:
            return Sql(self.rng.choice(["bool_or({})", "bool_and({})"]) + only, [self.bool(scope, 1)] + more), "bool"
        if shape < 8:
            return Sql("sum({})" + only, [self.int(scope, 2)] + more), "int"
        if shape == 8:
            return Sql(self.rng.choice(["min({})", "max({})"]) + only, [self.text(scope, 1)] + more), "text"
        if shape == 9:
            return Sql(self.rng.choice(["min({})", "max({})"]) + only, [self.score(scope, 0)] + more), "score"
        if shape == 10:
            return Sql(self.rng.choice(["min({})", "max({})"]) + only, [self.int(scope, 1)] + more), "int"
        order = ", ".join("{}" for _ in keys)
        node = Sql(f"string_agg({{}}, ',' ORDER BY {order})", [self.text(scope, 1)] + [name_of(r, c) for r, c in keys])
        return node, "text"

    def groups(self, depth, outer=None, derived=False):
        source, scope, rows = self.source(depth, outer)
        keys = []
        for _ in range(self.pick((1, 0), (5, 1), (3, 2))):
            kind = self.pick((4, "bool"), (4, "text"), (2, "int"), (1, "list"), (1, "score"))
            bare, self.bare = self.bare, 0
            node = self.of(kind, scope, self.rng.randint(0, 1))
            self.bare = bare
            # A number would be a place, and DataFusion takes no key twice.
            if not is_constant(node) and all(node.sql(PICSIFT) != other.sql(PICSIFT) for other, _ in keys):
                keys.append((node, Column(self.name("key"), kind)))
        items = [[node, f" AS {column.name}"] for node, column in keys]
        columns = [column for _, column in keys]
        group, sets = self.grouping(keys)
        images = self.grouped_images(scope)
        unique = [column.name for column in columns]
        if derived and images and self.chance(0.5) and not sets and keys:
            relation, column = self.rng.choice(images)
            columns.append(Column("image", column.type))
            unique = None
            group[0].text += ", {}"
            group[0].parts.append(name_of(relation, column))
            items.append([name_of(relation, column), " AS image"])
        drawn = [self.aggregate(scope, self.uniques(scope)) for _ in range(self.rng.randint(0 if keys else 1, 3))]
        inner = self.uniques(scope)
        if derived and inner and images and self.chance(0.3):
            order = ", ".join(["{}"] * len(inner))
            relation, column = self.rng.choice(images)
            parts = [name_of(relation, column)] + [name_of(r, c) for r, c in inner]
            first = Sql(f"first_value({{}} ORDER BY {order})", parts, f"first({{}} ORDER BY {order})")
            drawn.append((first, column.type))
        for node, kind in drawn:
            columns.append(Column(self.name("a"), kind))
            items.append([node, f" AS {columns[-1].name}"])
        if self.chance(0.15):
            node, _ = self.aggregate(scope, None)
            over = self.rng.choice(["rank() OVER (ORDER BY {})", "count({}) OVER ()", "count(*) OVER (PARTITION BY {})"])
            columns.append(Column(self.name("w"), "int"))
            items.append([Sql(over, [node]), f" AS {columns[-1].name}"])
        if sets:
            for node, _ in keys:
                columns.append(Column(self.name("set"), "int"))
                items.append([Sql("grouping({})", [node]), f" AS {columns[-1].name}"])
            # Groups of several ways may be equal in all columns, which is no trouble where the whole result is sorted by all of them.
            unique = None if derived else [column.name for column in columns]
        having = []
        if self.chance(0.3):
            node, kind = self.aggregate(scope, None)
            tests = {"bool": "({})", "int": "({} > 1)", "text": "({} > 'c')", "score": "({} < 2)"}
            having = [Sql(tests[kind], [node])]
        select = Select(items, [source], self.where(scope, depth), group, having)
        return select, columns, unique, rows

    def grouping(self, keys):
        """The GROUP BY of these keys, and whether it groups in several ways."""
        if not keys:
            return [], False
        parts = [node for node, _ in keys]
        all_of = ", ".join(["{}"] * len(parts))
        if self.chance(0.2):
            return [Sql(", ".join(column.name for _, column in keys))], False
        if self.chance(0.2):
            return [Sql(", ".join(str(number + 1) for number in range(len(keys))))], False
        # A subquery's parentheses would be those of several keys.
        if self.chance(0.25) and not any(isinstance(part, Select) for node in parts for part in walk(node)):
            sets = ["ROLLUP ({})", "CUBE ({})", "GROUPING SETS (({}), ())"]
            return [Sql(self.rng.choice(sets).format(all_of), parts)], True
        return [Sql(all_of, list(parts))], False

    def united(self, depth, outer=None, derived=False):
        """A set operation of two queries with columns of the same types."""
        op = self.pick((4, "UNION ALL"), (2, "UNION"), (1, "INTERSECT"), (1, "EXCEPT"))
        kinds = [self.pick(*TYPES[:3]) for _ in range(self.rng.randint(1, 3))]
        columns = [Column(self.name("c"), kind) for kind in kinds]
        sides, total = [], 0
        for _ in range(2):
            source, scope, rows = self.source(0, outer)
            images = {column.type: (relation, column) for relation, column in scope.fields(lambda column: column.is_image)}
            items = [[self.of(column.type, scope, 1), f" AS {column.name}"] for column in columns]
            sides.append((Select(items, [source], self.where(scope, 0)), images))
            total += rows
        # As where groups are of several ways.
        unique = None if derived and op == "UNION ALL" else [column.name for column in columns]
        shared = [(kind, kind) for kind in sides[0][1] if kind in sides[1][1]]
        shared += [(a, b) for a in sides[0][1] for b in sides[1][1] if a != b and "references" in a and "references" in b]
        if op == "UNION ALL" and derived and shared and self.chance(0.8):
            pair = self.rng.choice(shared)
            for (select, images), kind in zip(sides, pair):
                select.items.append([name_of(*images[kind]), " AS image"])
            columns = columns + [Column("image", pair[0] if pair[0] == pair[1] else MIXED)]
        return Union([select for select, _ in sides], op), columns, unique, total
