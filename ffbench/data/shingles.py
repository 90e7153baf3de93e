"""Which documents repeat each other: shingles of words, clusters of documents that share one."""

from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

# Words per shingle. 30 words in a row are a passage that a model can copy; a licence line, an
# import list or a common phrase is shorter.
SHINGLE_WORDS = 30
# Share of a document's shingles that longer documents of its cluster hold, above which the document
# adds nothing: help topics contain each other whole.
CONTAINED = 0.5

Name = TypeVar("Name", bound=Hashable)


def shingles(text: str) -> Iterator[int]:
    """Hash of every run of SHINGLE_WORDS words; none if the text is shorter.

    Python salts the hashes of text, so they can be compared within one process only.
    """
    words = text.split()
    for start in range(len(words) - SHINGLE_WORDS + 1):
        yield hash(tuple(words[start : start + SHINGLE_WORDS]))


def clusters(documents: Mapping[Name, str]) -> list[list[Name]]:
    """Names grouped so that no two groups share a shingle, in the order of `documents`."""
    parent: dict[Name, Name] = {name: name for name in documents}

    def root(name: Name) -> Name:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first_owner: dict[int, Name] = {}
    for name, text in documents.items():
        for shingle in shingles(text):
            owner = first_owner.setdefault(shingle, name)
            if owner != name:
                parent[root(name)] = root(owner)
    groups: dict[Name, list[Name]] = {}
    for name in documents:
        groups.setdefault(root(name), []).append(name)
    return list(groups.values())


def without_contained(documents: Mapping[Name, str]) -> dict[Name, str]:
    """The documents but for those that longer ones repeat (more than CONTAINED of the shingles)."""
    seen: set[int] = set()
    kept: set[Name] = set()
    for name in sorted(documents, key=lambda name: (-len(documents[name]), str(name))):
        own = set(shingles(documents[name]))
        if len(own & seen) <= CONTAINED * len(own):
            kept.add(name)
            seen |= own
    return {name: text for name, text in documents.items() if name in kept}
