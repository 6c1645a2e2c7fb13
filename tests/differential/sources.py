"""Random FROM clauses: tables, subqueries, named queries, and the joins between them.

Owns which relations a query reads; what a subquery selects is `selects`' to say.
"""

from calls import CALLS
from data import TABLES
from nodes import Ask, Join, Same, Select, Sql, is_constant
from scalars import Scalars
from scope import MIXED, Column, Relation, Scope, base_columns, name_of

SIZES = {name: rows for name, rows, _ in TABLES}
# More rows than this are not multiplied by another table.
MOST_ROWS = 2500


class Sources(Scalars):
    """Draws FROM clauses. `named` are the views and common table expressions that can be read: name to (columns, unique, rows)."""

    def __init__(self, rng, thresholds):
        super().__init__(rng, thresholds)
        self.named = {}
        # The scope of each SELECT, by the node's id.
        self.scopes = {}
        self.names = 0
        # Tables that stand in the query under their own names, which only one entry may do.
        self.taken = set()

    def name(self, start):
        """A name that nothing else has."""
        self.names += 1
        return f"{start}{self.names}"

    def select(self, depth, outer=None, derived=False):
        raise NotImplementedError

    def relation(self, depth, outer=None):
        """(SQL, relation, rows at most) of one entry."""
        alias = self.name("t")
        if self.named and self.chance(0.5):
            name = self.rng.choice(list(self.named))
            columns, unique, rows = self.named[name]
            return Sql(f"{name} AS {alias}"), Relation(alias, columns, unique), rows
        if depth > 0 and self.chance(0.3):
            node, columns, unique, rows = self.select(depth - 1, derived=True)
            return Sql("({}) AS " + alias, [node]), Relation(alias, columns, unique), rows
        table = self.pick(*((1, name) for name in SIZES))
        if table not in self.taken and self.chance(0.15):
            self.taken.add(table)
            return Sql(table), Relation(table, base_columns(table), ["id"], table), SIZES[table]
        return Sql(f"{table} {alias}"), Relation(alias, base_columns(table), ["id"], table), SIZES[table]

    def source(self, depth, outer=None):
        """(SQL, scope, rows at most) of a FROM."""
        node, relation, rows = self.relation(depth)
        scope = Scope([relation], outer)
        for _ in range(self.pick((5, 0), (5, 1), (1, 2))):
            if self.chance(0.06):
                node = self.lateral(node, scope)
                break
            other, beside, more = self.relation(depth if not scope.relations[1:] else 0)
            if rows * more > MOST_ROWS:
                break
            node, rows = self.join(node, scope, other, beside, rows, more)
        return node, scope, rows

    def join(self, node, scope, other, beside, rows, more):
        """Joins one more relation to a FROM, and to its scope."""
        kind = self.pick((6, "JOIN"), (4, "LEFT JOIN"), (2, "RIGHT JOIN"), (2, "FULL JOIN"), (1, "CROSS JOIN"), (1, "LEFT SEMI JOIN"),
                         (1, "LEFT ANTI JOIN"))
        bases = [relation for relation in scope.relations if relation.base]
        if kind == "FULL JOIN" and not (beside.base and len(bases) == len(scope.relations)):
            kind = "LEFT JOIN"
        if kind == "CROSS JOIN":
            scope.relations.append(beside)
            return Join([node, other], kind, []), rows * more
        both = Scope(scope.relations + [beside], scope.outer)
        shared = [c for c in ("k", "g") if len(both.fields(lambda column: column.name == c)) == len(both.relations)]
        if kind in ("JOIN", "LEFT JOIN") and len(both.relations) == 2 and shared and self.chance(0.2):
            scope.relations.append(beside)
            return Join([node, other], kind, [Sql(f"USING ({self.rng.choice(shared)})")]), rows * more
        condition = self.condition(scope, beside, kind == "FULL JOIN")
        if "SEMI" not in kind and "ANTI" not in kind:
            scope.relations.append(beside)
        return Join([node, other], kind, [Sql("ON {}", [condition])]), rows * more

    def lateral(self, node, scope):
        """Joins a subquery that reads the relations before it."""
        table, alias = self.rng.choice(list(SIZES)), self.name("t")
        inner = Relation(alias, base_columns(table), ["id"], table)
        near, far = Scope([inner], beside=scope.relations), Scope(scope.relations, beside=[inner])
        keys = near.fields("int"), far.fields("int")
        where = [Sql("({} = {})", [name_of(*self.rng.choice(side)) for side in keys])] if all(keys) else []
        where.append(self.bool(near, 0))
        columns = [Column(self.name("c"), "bool")]
        items = [[self.bool(near, 1), f" AS {columns[0].name}"]]
        unique = [self.name("u")]
        items.append([name_of(inner, inner.columns[0]), f" AS {unique[0]}"])
        columns.append(Column(unique[0], "int"))
        image = self.rng.choice(near.fields(lambda column: column.is_image))
        items.append([name_of(*image), " AS image"])
        columns.append(Column("image", image[1].type))
        select = Select(items, [Sql(f"{table} {alias}")], where)
        beside = Relation(self.name("t"), columns, unique)
        kind, condition = self.rng.choice([("CROSS JOIN LATERAL", []), ("LEFT JOIN LATERAL", [Sql("ON true")])])
        scope.relations.append(beside)
        return Join([node, Sql("({}) AS " + beside.alias, [select])], kind, condition)

    def condition(self, scope, beside, keys_only):
        """What joins a relation to those before it."""
        left, right = Scope(scope.relations, beside=[beside]), Scope([beside], beside=scope.relations)
        both = Scope(scope.relations + [beside])
        parts = []
        kind = self.pick((5, "int"), (3, "text"), (2, "image"), (3, "asked"), (1, "none"))
        if kind == "image":
            images = [(l, r) for l in left.fields(lambda c: c.is_image) for r in right.fields(lambda c: c.type == l[1].type)]
            if images:
                pair = self.rng.choice(images)
                parts.append(Sql("{} = {}", [Same([name_of(*side)]) for side in pair]))
        if kind == "asked":
            wanted = self.pick((3, "text"), (2, "bool"), (1, "size"))
            sides = [self.leaf(wanted, left), self.leaf(wanted, right)]
            if all(isinstance(side, Ask) for side in sides) and self.chance(0.7) and sides[0].call.name in CALLS:
                # Answers of different calls are seldom equal.
                sides[1].call = sides[0].call
            parts.append(Sql("{} = {}", sides))
        if kind in ("int", "text") or keys_only and not parts:
            wanted = "text" if kind == "text" else "int"
            sides = left.fields(wanted), right.fields(wanted)
            if all(sides):
                parts.append(Sql("{} = {}", [name_of(*self.rng.choice(side)) for side in sides]))
        if not keys_only and (not parts or self.chance(0.35)):
            where = self.rng.choice([left, right, both])
            drawn = self.bool(where, 1 if self.chance(0.3) else 0)
            # DataFusion lets a join on NULL give rows of a GROUP BY of several ways.
            parts += [] if is_constant(drawn) else [drawn]
        if not parts:
            return Sql("true")
        return Sql(" AND ".join(["({})"] * len(parts)), parts)

    def image_subquery(self):
        """(expression, type) of an image of another table."""
        table, alias = self.rng.choice(list(SIZES)), self.name("t")
        inner = Relation(alias, base_columns(table), ["id"], table)
        image = inner.columns[self.rng.choice([4, 5])]
        where = Sql("({} = " + str(self.rng.randint(1, SIZES[table] + 1)) + ")", [name_of(inner, inner.columns[0])])
        return Sql("({})", [Select([[name_of(inner, image), ""]], [Sql(f"{table} {alias}")], [where])]), image.type

    def uniques(self, scope):
        """(relation, column) that together say which row of the FROM it is, or None."""
        found = []
        for relation in scope.relations:
            if relation.unique is None:
                return None
            found += [(relation, column) for column in relation.columns if column.name in relation.unique]
        return found

    def grouped_images(self, scope):
        """(relation, column) of the images by which rows can be grouped: the same reference in two folders is two images."""
        return scope.fields(lambda column: column.is_image and column.type != MIXED)

    def exported(self, scope, images=True):
        """Items and columns by which a query around finds this one's rows and images again."""
        items, columns, unique = [], [], []
        keys = self.uniques(scope)
        for relation, column in keys or []:
            unique.append(self.name("u"))
            items.append([name_of(relation, column), f" AS {unique[-1]}"])
            columns.append(Column(unique[-1], column.type))
        if images:
            fields = scope.fields(lambda column: column.is_image)
            for name, (relation, column) in zip(("image", "image_b"), self.rng.sample(fields, min(len(fields), self.rng.randint(1, 2)))):
                items.append([name_of(relation, column), f" AS {name}"])
                columns.append(Column(name, column.type))
        return items, columns, unique if keys is not None else None
