"""Pictures of Python as what a decoder reads: a path or URL, or the bytes of a file."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Mapping
from typing import Any, Union

from ._errors import InputError

Source = Union[str, bytes]

_CHANNELS = (1, 2, 3, 4)
_ORIENTATION = 0x0112
_PLAIN_MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def is_picture(value: Any) -> bool:
    """Whether :func:`source` takes it, as far as its type tells."""
    if isinstance(value, (str, bytes, bytearray, memoryview, os.PathLike)):
        return True
    if isinstance(value, Mapping):
        return "bytes" in value or "path" in value
    return _is_pil(value) or _is_tensor(value) or hasattr(value, "__array_interface__")


def source(picture: Any) -> Source:
    """The picture as a path or URL, or as the bytes of a file.

    It may be those; Pillow's image; an array of NumPy or a tensor of torch of uint8, height x width x channels or channels x height x
    width, grey, grey and alpha, RGB or RGBA; or what ``datasets`` has for an image that is not decoded.
    """
    if isinstance(picture, (str, bytes)):
        return picture
    if isinstance(picture, os.PathLike):
        return str(os.fspath(picture))  # pyright: ignore
    if isinstance(picture, (bytearray, memoryview)):
        return bytes(picture)
    if isinstance(picture, Mapping):
        found = picture.get("bytes") or picture.get("path")
        if found:
            return source(found)
        raise InputError("a picture of this form has 'bytes' or 'path', and this one has neither")
    if _is_pil(picture):
        return _of_pil(picture)
    if _is_tensor(picture):
        return _of_array(picture.detach().cpu().numpy(), channels_first=True)
    if hasattr(picture, "__array_interface__"):
        return _of_array(picture, channels_first=False)
    raise InputError(
        f"a picture cannot be a {type(picture).__name__}: give a path, bytes, an image of Pillow, or an array of uint8"
    )


def name(picture: Any, place: int) -> str:
    """What a picture is called in results: its path or file name, else its place among the pictures."""
    if isinstance(picture, (str, os.PathLike)):
        return str(os.fspath(picture))  # pyright: ignore
    if isinstance(picture, Mapping) and picture.get("path"):
        return str(picture["path"])
    return str(getattr(picture, "filename", "") or place)


def _is_pil(value: Any) -> bool:
    return all(hasattr(value, part) for part in ("mode", "tobytes", "getexif", "size"))


def _is_tensor(value: Any) -> bool:
    return all(hasattr(value, part) for part in ("detach", "cpu", "numpy"))


def _of_pil(image: Any) -> bytes:
    orientation = image.getexif().get(_ORIENTATION, 1)
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        # More than 8 bits.
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=0)
        return file.getvalue()
    if image.mode not in _PLAIN_MODES:
        has_alpha = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
        # A profile of inks says nothing of what is no ink any more.
        profile = None if image.mode == "CMYK" else profile
        image = image.convert("RGBA" if has_alpha else "RGB")
    width, height = image.size
    return _tiff(
        width, height, _PLAIN_MODES[image.mode], image.tobytes(), orientation=orientation, profile=profile
    )


def _of_array(array: Any, *, channels_first: bool) -> bytes:
    shape = tuple(array.shape)
    if str(array.dtype) != "uint8":
        raise InputError(f"an array of pixels is of uint8, 0 to 255, and this one of {array.dtype}")
    if len(shape) == 3:
        first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
        if first and (channels_first or not last):
            array = array.transpose(1, 2, 0)
        elif not last:
            raise InputError(f"an array of pixels has 1 to 4 channels, first or last; this one is {shape}")
    elif len(shape) != 2:
        raise InputError(f"an array of pixels has two or three dimensions; this one is {shape}")
    height, width = array.shape[:2]
    channels = 1 if len(array.shape) == 2 else array.shape[2]
    return _tiff(int(width), int(height), int(channels), array.tobytes())


def _tiff(
    width: int,
    height: int,
    channels: int,
    pixels: bytes,
    *,
    orientation: int = 1,
    profile: bytes | None = None,
) -> bytes:
    """The pixels as a TIFF file without compression: a header before them, and one copy."""
    short, long, undefined = 3, 4, 7
    colours = 3 if channels >= 3 else 1
    entries: list[tuple[int, int, int, bytes]] = [
        (256, long, 1, struct.pack("<I", width)),
        (257, long, 1, struct.pack("<I", height)),
        (258, short, channels, struct.pack(f"<{channels}H", *[8] * channels)),
        (259, short, 1, struct.pack("<H", 1)),
        (262, short, 1, struct.pack("<H", 2 if colours == 3 else 1)),
        (273, long, 1, b""),
        (274, short, 1, struct.pack("<H", orientation if orientation in range(1, 9) else 1)),
        (277, short, 1, struct.pack("<H", channels)),
        (278, long, 1, struct.pack("<I", height)),
        (279, long, 1, struct.pack("<I", len(pixels))),
    ]
    if channels > colours:
        # Alpha that colours are not multiplied with.
        entries.append((338, short, 1, struct.pack("<H", 2)))
    if profile:
        entries.append((34675, undefined, len(profile), profile))
    directory = 8
    after = directory + 2 + 12 * len(entries) + 4
    outside = b""
    for _, _, _, value in entries:
        if len(value) > 4:
            outside += value + b"\0" * (len(value) % 2)
    start = after + len(outside)
    parts = [struct.pack("<2sHIH", b"II", 42, directory, len(entries))]
    place = after
    for tag, kind, count, value in entries:
        if tag == 273:
            value = struct.pack("<I", start)
        if len(value) > 4:
            parts.append(struct.pack("<HHII", tag, kind, count, place))
            place += len(value) + len(value) % 2
        else:
            parts.append(struct.pack("<HHI4s", tag, kind, count, value))
    return b"".join([*parts, struct.pack("<I", 0), outside, pixels])
