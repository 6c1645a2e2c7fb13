"""Random whole queries: subqueries inside expressions, named queries, and the order of the result.

`draw` gives the query of a seed and number, the same one for ever.
"""

import random

from nodes import Query, Select, Sql, With, is_constant
from scope import Scope, name_of
from selects import Selects


class Queries(Selects):
    """Draws queries."""

    def subquery(self, kind, scope, depth, inside=True):
        """An expression with a subquery in it, correlated or not; `inside` of another expression."""
        before, self.filtering = self.filtering, False
        drawn = self.drawn_subquery(kind, scope, inside)
        self.filtering = before
        return drawn

    def drawn_subquery(self, kind, scope, inside):
        """The same, once it is known that nothing inside is the outer filter's."""
        outer = scope if self.chance(0.6) else None
        # DataFusion's NOT IN takes a NULL for no NULL where the subquery is correlated, looks for a constant, or is part of another
        # expression, which may be a NOT about an IN; and a correlated IN mixes up columns of one name of the subquery's tables.
        sought = kind == "bool" and not inside and self.chance(0.5)
        if sought and outer:
            source, relation, _ = self.relation(0)
            inner = Scope([relation], outer)
        else:
            source, inner, _ = self.source(0, outer)
        where = self.where(inner, 0)
        if outer:
            near, far = inner.fields("int"), inner.fields("int", near=False)
            if near and far:
                pair = [name_of(*self.rng.choice(near)), name_of(*self.rng.choice(far))]
                where.append(Sql("({} = {})", pair))
        inner_only = Scope(inner.relations)
        if kind == "int":
            node, found = self.aggregate(inner_only, None)
            select = Select([[node, ""]], [source], where)
            if found == "int":
                return Sql("({})", [select])
            return Sql("CASE WHEN ({}) IS NULL THEN 0 ELSE 2 END", [select])
        if not sought:
            return Sql(self.rng.choice(["EXISTS ({})", "(NOT EXISTS ({}))"]), [Select([[Sql("1"), ""]], [source], where)])
        wanted = self.pick((3, "int"), (3, "text"), (1, "bool"))
        select = Select([[self.of(wanted, inner_only, 0), ""]], [source], where)
        value = self.of(wanted, scope, 0)
        word = "IN" if outer or is_constant(value) else self.rng.choice(["IN", "NOT IN"])
        return Sql("({} " + word + " ({}))", [value, select])

    def query(self):
        """A whole query."""
        views, named = [], []
        # Views first: one cannot read what only this query names.
        for held, most in ((views, self.pick((8, 0), (2, 1))), (named, self.pick((7, 0), (3, 1), (1, 2)))):
            for _ in range(most):
                node, columns, unique, rows = self.select(self.rng.randint(0, 1), derived=True)
                name = self.name("v")
                held.append([node, name])
                self.named[name] = (columns, unique, rows)
        depth = self.rng.randint(1, 2)
        node, columns, unique, _ = self.select(depth)
        ordered = self.order(node, columns, unique) if self.chance(0.55) else None
        if named:
            node = With(named, [node])
        return Query(views, node, ordered)

    def order(self, node, columns, unique):
        """Sorts the whole query, and cuts it now and then."""
        sortable = [column for column in columns if not column.is_image]
        if isinstance(node, Select) and node.order:
            # DISTINCT ON: it is sorted already.
            return ()
        if isinstance(node, Select) and not node.group and not node.distinct and self.chance(0.5):
            return self.order_by_expression(node, unique)
        some = self.rng.sample(sortable, min(len(sortable), self.rng.randint(1, 2)))
        total = unique is not None and self.chance(0.7)
        names = [column.name for column in some]
        if total:
            names += [name for name in unique if name not in names]
        places = {column.name: place for place, column in enumerate(columns)}
        bare = [Sql(str(places[name] + 1) if self.chance(0.2) else name) for name in names]
        node.order = [[name, self.suffix()] for name in bare]
        if total and self.chance(0.5):
            node.limit = [self.limit()]
        return () if total else tuple(places[name] for name in names)

    def order_by_expression(self, node, unique):
        """Sorts by what need not be selected."""
        scope = self.scopes.get(id(node))
        keys = self.uniques(scope) if scope else None
        if not keys:
            return None
        # A bare name could be that of a result's column.
        self.bare = 0
        first = [self.sort_key(scope, self.rng.randint(0, 1)) for _ in range(self.rng.randint(1, 2))]
        node.order = [[key, self.suffix()] for key in first if key] + [[name_of(r, c), self.suffix()] for r, c in keys]
        if self.chance(0.6):
            node.limit = [self.limit()]
        return ()



def draw(seed, number, thresholds, attempt=0):
    """The query of this seed and number, or another one in its place."""
    return Queries(random.Random(f"query {seed} {number} {attempt}"), thresholds).query()
