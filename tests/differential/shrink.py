"""Makes a failing query smaller while it goes on failing.

Owns which smaller queries are tried; whether one still fails is the caller's to say.
"""

from nodes import Join, Select, Sql, Union, With, walk

TRIALS = 300


def _variants(query):
    """Smaller copies of a query, large steps first."""
    for number in range(len(query.views)):
        smaller = query.copy()
        del smaller.views[number]
        yield smaller
    roots = 1 + len(query.views)
    for root in range(roots):
        count = sum(1 for _ in walk(_root(query, root)))
        for place in range(count):
            yield from _at(query, root, place)


def _root(query, number):
    return query.root if number == 0 else query.views[number - 1][0]


def _node(query, root, place):
    return next(node for index, node in enumerate(walk(_root(query, root))) if index == place)


def _at(query, root, place):
    """Copies with something less at one node."""
    node = _node(query, root, place)
    if isinstance(node, With):
        for number in range(len(node.named)):
            smaller = query.copy()
            del _node(smaller, root, place).named[number]
            yield smaller
    if isinstance(node, Select):
        for number, entries in enumerate(node.droppable()):
            for entry in range(len(entries)):
                if entries is node.items and len(entries) == 1:
                    continue
                smaller = query.copy()
                del _node(smaller, root, place).droppable()[number][entry]
                if entries is node.items:
                    smaller.ordered = None if smaller.ordered else smaller.ordered
                yield smaller
        if node.order and not node.limit and not node.distinct:
            smaller = query.copy()
            _node(smaller, root, place).order = []
            if root == 0:
                smaller.ordered = None
            yield smaller
    for slot, (container, key) in enumerate(node.slots()):
        child = container[key]
        instead = []
        if isinstance(child, (Join, Union)):
            instead = [0, 1]
        elif isinstance(child, Sql):
            instead = range(len(child.parts))
        for part in instead:
            smaller = query.copy()
            container, key = _node(smaller, root, place).slots()[slot]
            container[key] = (container[key].sides if isinstance(child, (Join, Union)) else container[key].parts)[part]
            yield smaller


def shrink(query, fails):
    """The smallest query found for which `fails` is true."""
    trials = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _variants(query):
            verdict = fails(candidate)
            if verdict is None:
                continue
            trials += 1
            if verdict:
                query, smaller = candidate, True
                break
            if trials >= TRIALS:
                return query
    return query
