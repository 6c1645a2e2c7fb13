"""Arguments as the words of a command line, so that they are checked where the command's are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypedDict, Union

from ._errors import InputError

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Path: TypeAlias = "Union[str, os.PathLike[str]]"
Paths: TypeAlias = "Union[Path, Iterable[Path]]"

# Whose values the command separates by commas.
_BY_COMMA = {"partition_by", "allow_schemes"}


class ModelOptions(TypedDict, total=False):
    """How the model is loaded."""

    dtype: str
    """Number format that it computes in: ``f32`` or ``bf16``."""
    quantize: str
    """Quantise the weights while they are loaded: ``q8_0`` or ``q4k``."""
    crops: str
    """What a model that cuts large images up sees of them: ``reference`` or ``global``."""


class LimitOptions(TypedDict, total=False):
    """What one image may take."""

    max_image_bytes: int
    """Bytes of its file."""
    max_image_pixels: int
    """Width times height."""
    max_image_memory: int
    """Bytes that all images together may take while they are decoded."""
    image_timeout: int
    """Seconds to fetch it, and again to decode it."""
    sandbox: bool
    """Decode in processes that can do nothing else, for pictures by strangers."""


class CacheOptions(TypedDict, total=False):
    """Where answers are kept, so that no image is asked the same question twice."""

    no_cache: bool
    """Neither use answers of earlier runs nor keep those of this one."""
    cache_dir: Path
    """Folder on a disk of this machine; else ``PICSIFT_CACHE``, else ``~/.cache/picsift``."""
    cache_size: int
    """Bytes that it may take."""


class FetchOptions(TypedDict, total=False):
    """What references in tables may reach."""

    allow_host: str | list[str]
    """Hosts that may be asked although they are private."""
    allow_folder: Paths
    """Folders whose files references may name, besides the table's own."""
    allow_bucket: str | list[str]
    """Buckets that references may name with your credentials, besides the table's own."""
    allow_schemes: str | list[str]
    """Schemes that references may have."""
    ignore_robots: bool
    """Fetch images too whose server forbids their use to train models."""
    fetches: int
    """Images fetched at once."""
    fetches_per_host: int
    """Images fetched at once from one web server."""
    host_rate: int
    """Requests a second to one web server."""


class ReadOptions(LimitOptions, FetchOptions, total=False):
    """What work that reads images of labelled tables can be told beside its own options."""


class EngineOptions(ModelOptions, CacheOptions, ReadOptions, total=False):
    """What work that asks a model can be told beside its own options."""


class PartOptions(EngineOptions, total=False):
    """What a part of a shared job can be told: the options of :func:`picsift.label` that do not mean one program."""

    categories_file: Path
    heads: Path
    model: str
    device: str
    threshold: float
    prompt_style: str
    image: str
    sha256: str
    embedding: bool
    image_column: str
    where: str
    limit: int
    partition_by: str | list[str]
    on_error: str
    max_error_ratio: float
    shard_rows: int
    corrections: Path


def known(function: str, options: Mapping[str, object], kind: type[ReadOptions]) -> None:
    """Refuses keywords that there are not, as a function does that names all of its own."""
    for name in options:
        if name not in kind.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")


def paths(value: Paths) -> list[str]:
    """One path or several as texts."""
    if isinstance(value, (str, os.PathLike)):
        return [os.fspath(value)]
    return [os.fspath(one) for one in value]


def categories(value: Iterable[str] | str | None) -> list[str]:
    """The names of categories; one by itself too."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def words(command: str, inputs: Paths, options: Mapping[str, object]) -> list[str]:
    """The words of a command with these inputs and options; what is ``None`` or ``False`` is not said."""
    said = [command]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            said.append(flag)
            continue
        several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, os.PathLike))
        for one in value if several else [value]:  # type: ignore[attr-defined]
            text = os.fspath(one) if isinstance(one, os.PathLike) else str(one)
            if several and name in _BY_COMMA and "," in text:
                raise InputError(f"{name}: '{text}' holds a comma, which separates values")
            said.append(f"{flag}={text}")
    return [*said, "--", *paths(inputs)]
