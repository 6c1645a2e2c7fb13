"""Whether two results are the same.

Owns what counts as the same value, row and order.
"""

from collections import Counter


def canonical(value):
    """A value that can be compared and hashed, whichever program it is from."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)) or type(value).__name__ == "Decimal":
        return float(f"{float(value):.5g}")
    if isinstance(value, (list, tuple)):
        return tuple(map(canonical, value))
    if isinstance(value, dict):
        # An image: what stands in its place, or what holds it.
        return canonical(value["raw"] if "raw" in value else value["bytes"])
    if isinstance(value, bytes):
        return value.hex()
    return value


def difference(expected, got, ordered):
    """A sentence about how two lists of rows differ, None where they do not. `ordered` is as in `nodes.Query`."""
    expected = [tuple(map(canonical, row)) for row in expected]
    got = [tuple(map(canonical, row)) for row in got]
    # True is 1 to Python.
    typed = lambda rows: [tuple((type(value).__name__, value) for value in row) for row in rows]
    missing = Counter(typed(expected)) - Counter(typed(got))
    extra = Counter(typed(got)) - Counter(typed(expected))
    if missing or extra:
        said = f"other rows: {len(expected)} expected, {len(got)} came"
        for what, rows in (("missing", missing), ("not expected", extra)):
            said += "".join(f"\n  {what}: {_shown(row)} ({count} times)" for row, count in list(rows.items())[:5])
        return said
    if ordered is None:
        return None
    cut = (lambda row: row) if ordered == () else (lambda row: tuple(row[place] for place in ordered))
    for place, (a, b) in enumerate(zip(expected, got)):
        if cut(a) != cut(b):
            return f"the order differs from row {place + 1} on: {_short(cut(a))} expected, {_short(cut(b))} came"
    return None


def _shown(row):
    return _short(tuple(value for _, value in row))


def _short(row):
    return "(" + ", ".join(text if len(text := repr(value)) < 60 else text[:50] + "...'" for value in row) + ")"
