"""Embedded text that every Python carries: prose (help topics and docstrings) and code (source of
the standard library), in parts that share no passage.
"""

import hashlib
import json
import logging
import re
import sysconfig
from functools import lru_cache
from inspect import cleandoc
from pathlib import Path

from ffbench.data.chunks import in_chunks
from ffbench.data.shingles import SHINGLE_WORDS, clusters, without_contained

logger = logging.getLogger(__name__)

KINDS = ("prose", "code")
# What each part is for: plans are fitted on `calibration`; settings are chosen by figures of
# `heldout`; published figures come from `test`, which nothing else may look at; the embedded tasks
# are made of `task_test`.
PARTS = ("calibration", "heldout", "test", "task_test")
# Per cent of the clusters of documents that each part gets, by a hash of the cluster's first name.
SHARES = {"calibration": 42, "heldout": 25, "test": 25, "task_test": 8}
# Chosen, by amounts of text alone, so that each part gets about its share of both kinds.
SPLIT_SALT = "split-3333"
# The pinned files of the standard library (`docstrings` for prose, `code`). Files that a build
# generates (_sysconfigdata*.py) or that later versions of Python removed are not among them, and no
# file is in both lists.
FILE_LIST = Path(__file__).with_name("stdlib_files.json")
SHORTEST_TOPIC = 500  # characters; shorter help topics are a sentence that points elsewhere
SHORTEST_DOCSTRING = 100  # characters; shorter docstrings only repeat the name of their function
DOCSTRING = re.compile(r'(?:\A|:[ \t]*(?:#[^\n]*)?\n)[ \t]*[rRuU]?"""(.*?)"""', re.DOTALL)
LEADING_COMMENTS = re.compile(r"\A(?:[ \t]*#[^\n]*\n|[ \t]*\n)*")

Documents = dict[tuple[str, str], str]


def docstrings(source: str) -> str:
    """The longer docstrings of a Python file, joined; those with doctests are left out."""
    body = LEADING_COMMENTS.sub("", source, count=1)
    found = [cleandoc(text).strip() for text in DOCSTRING.findall(body)]
    return "\n\n".join(
        text for text in found if len(text) >= SHORTEST_DOCSTRING and ">>>" not in text
    )


def read_pinned(root: Path, names: list[str]) -> tuple[dict[str, str], list[str]]:
    """Name -> source of the pinned files below `root`, and the names that are not there."""
    texts, missing = {}, []
    for name in names:
        try:
            texts[name] = (root / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            missing.append(name)
    return texts, missing


@lru_cache(maxsize=1)
def all_documents() -> Documents:
    """(Kind, name) -> text of every embedded document, before the split.

    A pinned file that this Python lacks is skipped, with a warning that names it.
    """
    from pydoc_data.topics import topics

    root = Path(sysconfig.get_paths()["stdlib"])
    pinned = json.loads(FILE_LIST.read_text(encoding="utf-8"))
    documented, missing = read_pinned(root, pinned["docstrings"])
    code, more_missing = read_pinned(root, pinned["code"])
    if missing or more_missing:
        names = [*missing, *more_missing]
        logger.warning(
            "embedded text: this Python lacks %d of %d pinned files, which are skipped: %s",
            len(names),
            len(pinned["docstrings"]) + len(pinned["code"]),
            ", ".join(names),
        )
    prose = {f"topic/{n}": text for n, text in topics.items() if len(text) > SHORTEST_TOPIC}
    prose |= {name: docstrings(text) for name, text in documented.items()}
    return {("prose", name): text for name, text in prose.items() if text} | {
        ("code", name): text for name, text in code.items()
    }


def hashed(*words: str) -> int:
    """A stable number of some words."""
    return int(hashlib.sha256("/".join(words).encode()).hexdigest(), 16)


def part_of(cluster: list[tuple[str, str]]) -> str:
    """The part that a cluster of documents belongs to, by the hash of its first name."""
    bucket = hashed(SPLIT_SALT, *min(cluster)) % 100
    for part, share in SHARES.items():
        if bucket < share:
            return part
        bucket -= share
    raise AssertionError("the shares add up to 100")


@lru_cache(maxsize=1)
def split() -> dict[str, Documents]:
    """Part -> documents, in hash order. Whole clusters go to one part, so no two parts share
    SHINGLE_WORDS words in a row; a document that others of its cluster repeat is left out.
    """
    texts = all_documents()
    parts: dict[str, Documents] = {part: {} for part in PARTS}
    for cluster in clusters(texts):
        kept = without_contained({name: texts[name] for name in cluster})
        parts[part_of(cluster)] |= kept
    return {
        part: {name: found[name] for name in sorted(found, key=lambda name: hashed("order", *name))}
        for part, found in parts.items()
    }


def documents(kind: str, part: str) -> dict[str, str]:
    """Name -> text of one kind and part, in hash order. Raises ValueError for an unknown one."""
    for what, value, valid in (("kind", kind, KINDS), ("part", part, PARTS)):
        if value not in valid:
            raise ValueError(f"text {what} {value!r} is unknown; valid: {', '.join(valid)}")
    return {name: text for (its_kind, name), text in split()[part].items() if its_kind == kind}


def calibration_chunks(kind: str) -> dict[str, str]:
    """Name -> text of the calibration part in chunks, those of all documents mixed."""
    return in_chunks(documents(kind, "calibration"), f"order/{kind}")


@lru_cache(maxsize=1)
def data_hash() -> str:
    """SHA-256 over every document with the part it is in: the identity of the text as split."""
    digest = hashlib.sha256(f"shingles of {SHINGLE_WORDS}\0".encode())
    for part, texts in split().items():
        for (kind, name), text in texts.items():
            digest.update(f"{part}/{kind}/{name}\0{text}\0".encode(errors="replace"))
    return digest.hexdigest()
