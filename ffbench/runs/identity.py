"""Content keys: the same settings give the same key on every machine, another setting gives another
key.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ffbench import strict_json
from ffbench.runs.files import StoreError, disk_errors, locked, make_folder, write_json

KEY_DIGITS = 16
SETTLED_SECONDS = 2.0
EXACT_INTEGERS = 2**53

_hashes: dict[str, str] = {}


def canonical(value: Any, where: str = "") -> Any:
    """`value` with sorted keys and one spelling per number (1.0 is 1, -0.0 is 0; True stays apart
    from 1).

    Raises:
        TypeError: a type other than mapping, list, tuple, str, bool, int, float, None.
        ValueError: NaN or infinity.

    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"content key: {where or 'value'} is {value}; only finite numbers have a key"
            )
        return int(value) if value.is_integer() and abs(value) < EXACT_INTEGERS else float(value)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(
                    f"content key: {where or 'mapping'} has the key {name!r}; keys must be text"
                )
        return {
            name: canonical(value[name], f"{where}.{name}" if where else name)
            for name in sorted(value)
        }
    if isinstance(value, (list, tuple)):
        return [canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(
        f"content key: {where or 'value'} is a {type(value).__name__}; allowed are mappings, "
        "lists, text, numbers, true, false and null"
    )


def content_key(mapping: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON of `mapping`; the order of its keys does
    not count.

    Raises:
        TypeError, ValueError: see `canonical`.

    """
    text = json.dumps(canonical(mapping), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def file_hash(path: str | Path, cache: Path | None = None) -> str:
    """SHA-256 (64 hex digits) of a file's bytes, remembered by device, inode, size and the times of
    its last modification and change; cp -p, rsync and tar keep the first only.

    `cache` is a JSON file in the output folder that keeps hashes between processes. A file modified
    in the last two seconds is never remembered, since a second write could leave size and time
    unchanged.

    Raises:
        StoreError: the file cannot be read.

    """
    path = Path(path)
    with disk_errors("read", path):
        stat = path.stat()
    times = [stat.st_mtime_ns, stat.st_ctime_ns]
    stamp = content_key({"stamp": [stat.st_dev, stat.st_ino, stat.st_size, *times]})
    if stamp in _hashes:
        return _hashes[stamp]
    known = _read_cache(cache)
    if stamp not in known:
        with disk_errors("read", path), open(path, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            if os.fstat(handle.fileno()).st_mtime_ns != stat.st_mtime_ns:
                raise StoreError(
                    f"{path} changed while it was read; start again when it is complete"
                )
        if time.time() - stat.st_mtime < SETTLED_SECONDS:
            return digest
        known[stamp] = digest
        if cache is not None:
            with locked(make_folder(cache.parent) / cache.name):
                write_json(cache, _read_cache(cache) | {stamp: digest})
    _hashes[stamp] = known[stamp]
    return known[stamp]


def _read_cache(cache: Path | None) -> dict[str, str]:
    if cache is None or not cache.exists():
        return {}
    try:
        known = strict_json.parse(cache.read_bytes())
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
