"""Random expressions of a wanted type over a scope.

Owns what expressions look like. Subqueries come from `subquery`, which the module of queries sets.
"""

from calls import of_type
from nodes import Ask, Same, Sql, is_constant
from scope import name_of

WORDS = ["'fish'", "'fish'", "'ash'", "'birch'", "'elm'", "''", "'tool'"]


def escaped(text):
    """A literal, whose braces are no place of a part."""
    return "'" + text.replace("{", "{{").replace("}", "}}") + "'"


class Scalars:
    """Draws expressions; `thresholds` are the numbers that scores may be compared with."""

    def __init__(self, rng, thresholds):
        self.rng, self.thresholds = rng, thresholds
        # How often an expression asks about an image where it could.
        self.asks = rng.choice([0.9, 0.6, 0.6, 0.4])
        # How often an image is that of a subquery.
        self.fetched = 0.03
        # Whether the expression is to be one of a filter.
        self.filtering = False
        # How often a column that can be is named without its table.
        self.bare = 0.3

    def subquery(self, kind, scope, depth, inside=True):
        raise NotImplementedError

    def image_subquery(self):
        raise NotImplementedError

    def chance(self, share):
        return self.rng.random() < share

    def pick(self, *weighted):
        """One of (weight, value)."""
        return self.rng.choices([v for _, v in weighted], [w for w, _ in weighted])[0]

    def field(self, wanted, scope):
        """A column of the type, of the query around now and then; None where there is none."""
        near, far = scope.fields(wanted), scope.fields(wanted, near=False)
        if not near and not far:
            return None
        fields = far if far and (not near or self.chance(0.35)) else near
        relation, column = self.rng.choice(fields)
        return name_of(relation, column, scope.is_plain(column) and self.chance(self.bare)), column

    def image(self, scope):
        """(expression, type) of an image."""
        if self.chance(self.fetched):
            return self.image_subquery()
        found = self.field(lambda column: column.is_image, scope)
        if found is None or self.chance(0.8):
            return found and (found[0], found[1].type)
        image, column = found
        other, _ = self.field(lambda c: c.type == column.type, scope)
        if self.chance(0.5):
            return Sql("coalesce({}, {})", [image, other]), column.type
        return Sql("CASE WHEN {} THEN {} ELSE {} END", [self.plain_bool(scope), image, other]), column.type

    def ask(self, kind, scope):
        """A call with an answer of this type, or None where no image can be named."""
        image = self.image(scope)
        if image is None:
            return None
        calls = of_type(kind, "references" in image[1])
        return Ask(self.rng.choice(calls), [image[0]]) if calls else None

    def leaf(self, kind, scope):
        """A call or a column of the type, or a constant."""
        asked = self.ask(kind, scope) if self.chance(self.asks) else None
        if asked:
            return asked
        found = self.field(kind, scope)
        return found[0] if found else self.constant(kind)

    def constant(self, kind):
        if kind == "bool":
            return Sql(self.rng.choice(["true", "false", "CAST(NULL AS BOOLEAN)"]))
        if kind == "text":
            return Sql(self.rng.choice(WORDS))
        return Sql("0.5" if kind == "score" else str(self.rng.randint(-3, 60)))

    def sort_key(self, scope, depth):
        """What rows can be sorted by; None for a constant."""
        kind = self.pick((3, "bool"), (3, "text"), (2, "int"), (3, "score"))
        node = self.of(kind, scope, depth)
        return None if is_constant(node) else node

    def word(self, node):
        """A text that the expression may well be equal to."""
        if isinstance(node, Ask) and node.call.words and self.chance(0.8):
            return Sql(escaped(self.rng.choice(node.call.words)))
        return Sql(self.rng.choice(WORDS))

    def of(self, kind, scope, depth):
        """An expression of the type."""
        return getattr(self, kind)(scope, depth)

    def plain_bool(self, scope):
        """A predicate that asks nothing."""
        return Sql("({})", [self._plain_bool(scope)])

    def _plain_bool(self, scope):
        number, text = self.field("int", scope), self.field("text", scope)
        if text and (not number or self.chance(0.3)):
            return self.pick(
                (2, Sql("{} = {}", [text[0], self.word(text[0])])), (1, Sql("{} IS NULL", [text[0]])), (1, Sql("{} > 'b'", [text[0]]))
            )
        if not number:
            return self.constant("bool")
        low = self.rng.randint(-10, 20)
        return self.pick(
            (3, Sql("{} " + self.rng.choice("< > <> <= >= =".split()[:-self.rng.randint(0, 1) or None]) + f" {low}", [number[0]])),
            (1, Sql(f"{{}} BETWEEN {low} AND {low + self.rng.randint(0, 20)}", [number[0]])),
            (1, Sql(f"{{}} IN ({low}, {low + 3}, 7, 2)", [number[0]])),
            (1, Sql("{} IS NOT NULL", [number[0]])),
        )

    def simple_bool(self, scope):
        """A predicate of one comparison, about an image where it can be."""
        drawn = self._simple_bool(scope)
        return drawn if isinstance(drawn, Ask) else Sql("({})", [drawn])

    def _simple_bool(self, scope):
        kind = self.pick((6, "bool"), (2, "score"), (3, "text"), (1, "size"), (1, "list"), (1, "null"), (1, "same"))
        if not self.chance(self.asks):
            return self.plain_bool(scope)
        asked = self.ask(kind, scope) if kind not in ("null", "same") else self.image(scope)
        if asked is None:
            return self.plain_bool(scope)
        if kind == "score":
            threshold = self.rng.choice(self.thresholds[asked.call.name])
            return self.pick(
                (3, Sql("{} " + self.rng.choice(["<", ">=", ">"]) + f" {threshold}", [asked])),
                (1, Sql(f"{{}} BETWEEN {threshold} AND 2", [asked])),
            )
        if kind == "text":
            return self.pick(
                (3, Sql("{} " + self.rng.choice(["=", "<>"]) + " {}", [asked, self.word(asked)])),
                (2, Sql("{} IS " + self.rng.choice(["NULL", "NOT NULL"]), [asked])),
                (1, Sql("{} IN ({}, {}, 'tool')", [asked, self.word(asked), self.word(asked)])),
                (1, Sql("{} NOT IN ({}, 'png')", [asked, self.word(asked)])),
                (1, Sql("{} LIKE '%i%'", [asked])),
                (1, Sql("{} IS DISTINCT FROM {}", [asked, self.leaf("text", scope)])),
            )
        if kind == "size":
            return Sql("{} > " + str(self.rng.choice([2, 128, 136, 140, 3000])), [asked])
        if kind == "list":
            return Sql("array_has({}, 'tool')", [asked])
        if kind == "null":
            return Sql("{} IS " + self.rng.choice(["NULL", "NOT NULL"]), [asked[0]])
        if kind == "same":
            other = self.field(lambda column: column.type == asked[1], scope) or asked
            return Sql("{} " + self.rng.choice(["=", "<>", "IS NOT DISTINCT FROM"]) + " {}", [Same([asked[0]]), Same([other[0]])])
        return asked

    def bool(self, scope, depth):
        if depth <= 0:
            return self.simple_bool(scope)
        some = lambda: self.bool(scope, depth - 1)
        shape = self.rng.randrange(20)
        if shape < 7:
            return self.simple_bool(scope)
        if shape < 11:
            return Sql("({} " + self.rng.choice(["AND", "OR"]) + " {})", [some(), some()])
        if shape == 11:
            return Sql("(NOT {})", [some()])
        if shape == 12:
            return Sql("({} IS " + self.rng.choice(["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "NULL", "NOT NULL"]) + ")", [some()])
        if shape == 13:
            return Sql("({} IS " + self.rng.choice(["DISTINCT", "NOT DISTINCT"]) + " FROM {})", [some(), some()])
        if shape == 14:
            return Sql("coalesce({}, {})", [some(), some()])
        if shape == 15:
            return Sql("CASE WHEN {} THEN {} ELSE {} END", [some(), some(), some()])
        if shape == 16:
            return Sql("({} = {})", [self.text(scope, depth - 1), self.text(scope, depth - 1)])
        if shape == 17:
            return Sql("({} " + self.rng.choice(["<", ">", "="]) + " {})", [self.int(scope, depth - 1), self.int(scope, depth - 1)])
        # DataFusion knows EXISTS and IN with a subquery in filters alone.
        return self.subquery("bool", scope, depth) if self.filtering else self.simple_bool(scope)

    def text(self, scope, depth):
        if depth <= 0 or self.chance(0.5):
            return self.leaf("text", scope)
        some = lambda: self.text(scope, depth - 1)
        shape = self.rng.randrange(7)
        if shape < 2:
            return Sql("coalesce({}, {})", [some(), some()])
        if shape == 2:
            return Sql("nullif({}, {})", [some(), some()])
        if shape == 3:
            whens = [self.bool(scope, depth - 1), some(), self.bool(scope, depth - 1), some()]
            return Sql("CASE WHEN {} THEN {} WHEN {} THEN {} END", whens)
        if shape == 4:
            return Sql("CASE {} WHEN 'fish' THEN {} WHEN 'tool' THEN 'T' ELSE {} END", [some(), some(), some()])
        if shape == 5:
            labels = self.ask("list", scope)
            return Sql("array_to_string({}, '+')", [labels]) if labels else some()
        return Sql("({} || '-' || {})", [some(), some()])

    def int(self, scope, depth):
        if depth <= 0 or self.chance(0.35):
            if self.chance(self.asks):
                asked = self.ask("size", scope)
                if asked:
                    return Sql("CAST({} AS BIGINT)", [asked])
            return self.leaf("int", scope)
        some = lambda: self.int(scope, depth - 1)
        shape = self.rng.randrange(8)
        if shape < 2:
            return Sql("CASE WHEN {} THEN 1 ELSE 0 END", [self.bool(scope, depth - 1)])
        if shape == 2:
            return Sql("CAST({} AS INTEGER)", [self.bool(scope, depth - 1)])
        if shape == 3:
            return Sql("({} " + self.rng.choice("+-") + " {})", [some(), some()])
        if shape == 4:
            return Sql("coalesce({}, {})", [some(), some()])
        if shape == 5:
            return Sql("CASE WHEN {} THEN {} ELSE {} END", [self.bool(scope, depth - 1), some(), some()])
        if shape == 6:
            labels = self.ask("list", scope)
            return Sql("coalesce(CAST(array_length({}) AS BIGINT), 0)", [labels]) if labels else some()
        return self.subquery("int", scope, depth)

    def score(self, scope, depth):
        return self.leaf("score", scope)

    def list(self, scope, depth):
        asked = self.ask("list", scope)
        return asked or Sql("['ash']")

    def size(self, scope, depth):
        return self.ask("size", scope) or Sql("7")
