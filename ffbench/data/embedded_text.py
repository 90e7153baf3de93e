"""Embedded text that every Python carries: help topics (prose) and the standard library's source
(code).
"""

import hashlib
import sysconfig
from functools import lru_cache
from pathlib import Path

from ffbench.data.chunks import in_pieces

PARTS = ("calibration", "heldout", "task_test", "task_train")
KINDS = ("prose", "code")
BUCKETS = (
    ("calibration", 50),
    ("heldout", 25),
    ("task_test", 15),
    ("heldout", 3),
    ("task_train", 7),
)


def part_of(name: str) -> str:
    """The part of the split that document `name` belongs to, by a stable hash."""
    bucket = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    for part, share in BUCKETS:
        if bucket < share:
            return part
        bucket -= share
    raise AssertionError("the buckets hold 100")


@lru_cache
def all_documents(kind: str) -> dict[str, str]:
    """Name -> text of every embedded document of a kind; ValueError for an unknown kind."""
    if kind == "prose":
        from pydoc_data.topics import topics

        return {name: text for name, text in topics.items() if len(text) > 500}
    if kind == "code":
        root = Path(sysconfig.get_paths()["stdlib"])
        names = sorted(
            [
                *root.glob("*.py"),
                *root.glob("asyncio/*.py"),
                *root.glob("email/*.py"),
                *root.glob("json/*.py"),
                *root.glob("xml/*/*.py"),
                *root.glob("unittest/*.py"),
                *root.glob("multiprocessing/*.py"),
                *root.glob("importlib/*.py"),
            ]
        )
        texts = {
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8", errors="replace")
            for path in names
        }
        return {name: text for name, text in texts.items() if len(text) > 2000}
    raise ValueError(f"text kind {kind!r} is unknown; valid: {', '.join(KINDS)}")


def documents(kind: str, part: str) -> dict[str, str]:
    """Name -> text of one part, in hash order; the parts share no document."""
    chosen = [name for name in all_documents(kind) if part_of(f"{kind}/{name}") == part]
    chosen.sort(key=lambda name: hashlib.sha256(f"order/{kind}/{name}".encode()).hexdigest())
    return {name: all_documents(kind)[name] for name in chosen}


def calibration_pieces(kind: str) -> dict[str, str]:
    """Name -> text of the calibration part in pieces, those of all documents mixed."""
    return in_pieces(documents(kind, "calibration"), f"order/{kind}")


def data_hash() -> str:
    """SHA-256 over every embedded document and the split: the identity of the embedded data."""
    digest = hashlib.sha256(repr(BUCKETS).encode())
    for kind in KINDS:
        for name, text in sorted(all_documents(kind).items()):
            digest.update(f"{kind}/{name}\0{text}\0".encode())
    return digest.hexdigest()
