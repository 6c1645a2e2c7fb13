"""The image calls that queries are made of, each as a field that holds its answer.

Owns which functions with which arguments there are, and what can be said of their values. The pictures are [`data`]'s.
"""

from dataclasses import dataclass

import pyarrow as pa

CATEGORIES = ["fish", "bird", "building", "tool", "animal", "hammer"]
LISTS = {"few": ["fish", "bird", "tool"], "more": ["animal", "building", "fish", "tool"]}


@dataclass(frozen=True)
class Call:
    """`text` with `{}` for the image; `name` is the field that holds the answer; `type` is that of `scalars`."""

    name: str
    text: str
    type: str
    arrow: pa.DataType
    # Texts that are an answer of some pictures.
    words: tuple = ()
    # What is made of the field: a NULL image has none.
    known: str = "{}"


def _words(categories):
    return "[" + ", ".join(f"'{category}'" for category in categories) + "]"


def _all():
    for category in CATEGORIES:
        yield Call(f"is_{category}", f"classify({{}}, '{category}')", "bool", pa.bool_())
    for category in ("fish", "tool", "animal"):
        yield Call(f"score_{category}", f"classify_score({{}}, '{category}')", "score", pa.float32())
    for name, categories in LISTS.items():
        words = _words(categories)
        yield Call(f"label_{name}", f"classify_label({{}}, {words})", "text", pa.string(), tuple(categories))
        yield Call(f"labels_{name}", f"classify_labels({{}}, {words})", "list", pa.list_(pa.string()))
    yield Call("json_few", f"classify_json({{}}, {_words(LISTS['few'])})", "text", pa.string(), ('{"fish": true, "bird": false, "tool": false}',))
    yield Call("source_few", f"label_source({{}}, {_words(LISTS['few'])})", "text", pa.string(), ("model",))
    yield Call("try_bird", "try_classify({}, 'bird')['value']", "bool", pa.bool_())
    yield Call("try_fish_score", "try_classify({}, 'fish')['score']", "score", pa.float32())
    yield Call("try_error", "split_part(try_classify({}, 'tool')['error'], ':', 1)", "text", pa.string(), ("decode",))
    for part, kind in (("width", pa.uint32()), ("height", pa.uint32()), ("channels", pa.uint8()), ("bytes", pa.uint64())):
        yield Call(f"info_{part}", f"image_info({{}})['{part}']", "size", kind)
    yield Call("info_format", "image_info({})['format']", "text", pa.string(), ("jpeg", "png", "webp"))
    yield Call("info_sha256", "image_info({})['sha256']", "text", pa.string())
    yield Call("no_info", "(image_info({}) IS NULL)", "bool", pa.bool_(), known="coalesce({}, true)")


CALLS = {call.name: call for call in _all()}

# What only a reference can be asked: the call reads the file first.
BY_REFERENCE = {
    call.name: call
    for call in (
        Call("length", "character_length(encode(load_image({}), 'hex'))", "int", pa.int64()),
        Call("is_fish", "classify(load_image({}), 'fish')", "bool", pa.bool_()),
        Call("info_format", "image_info(load_image({}))['format']", "text", pa.string()),
    )
}


def of_type(kind, reference=False):
    """The calls with answers of this type."""
    calls = [call for call in CALLS.values() if call.type == kind]
    if reference:
        calls += [call for call in BY_REFERENCE.values() if call.type == kind]
    return calls


def struct_type():
    """The struct that stands in the place of an image: the image itself, its bytes in hexadecimal or its reference, and the answers."""
    fields = [("raw", pa.string())] + [(call.name, call.arrow) for call in CALLS.values()]
    return pa.struct(fields + [("length", pa.int64())])
