"""Windows of token ids from documents: one per document, short ones joined."""

import pytest

from ffbench.data import windows
from ffbench.data.embedded_text import KINDS, documents
from ffbench.data.windows import document_windows, joined_windows, window_units


class Letters:
    """One id per character; B before a text by itself."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(c) for c in ("B" if add_special_tokens else "") + text]


class NoBegin(Letters):
    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(c) for c in text]


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_joined_windows() -> None:
    texts = ["abcde", "fgh", "ijklm"]
    assert list(map(text_of, joined_windows(Letters(), texts, 100, 4))) == ["abcd", "efgh", "ijkl"]
    assert list(map(text_of, joined_windows(Letters(), texts, 7, 3))) == ["abc", "def"]
    with pytest.raises(ValueError, match="the text has 13 tokens, too few for one window of 14"):
        joined_windows(Letters(), texts, 100, 14)


def test_units_use_each_document_once_and_whole_documents_first() -> None:
    texts = {
        "s1": "aaa",
        "long": "bcdefghij",
        "s2": "kkk",
        "s3": "lll",
        "s4": "m",
        "even": "nnnnnnn",
    }
    found = list(window_units(NoBegin(), texts, 7))
    assert [name for name, _ in found] == ["long", "even", "s1"]
    assert text_of(found[0][1]) in texts["long"] and len(found[0][1]) == 7
    assert text_of(found[2][1]) == "aaa\n\nkk"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["heldout", "test"])
def test_each_judged_part_has_32_windows_of_about_1024_tokens(kind: str, part: str) -> None:
    # About 4 characters make a token: 4,096 of them take the place of 1,024 tokens here.
    found = document_windows(Letters(), kind, part, length=4096, count=32)
    assert len(found) == 32 == len({name for name, _ in found})
    assert all(len(ids) == 4096 and ids[0] == ord("B") for _, ids in found)
    assert {name for name, _ in found} <= set(documents(kind, part))
    assert found[:5] == document_windows(Letters(), kind, part, length=4096, count=5)


def test_a_window_is_text_of_its_document() -> None:
    texts = documents("code", "heldout")
    for name, ids in document_windows(NoBegin(), "code", "heldout", length=500, count=8):
        assert text_of(ids) in texts[name]


def test_lengths_that_nothing_fills_and_lengths_too_small() -> None:
    with pytest.raises(ValueError, match="code of part 'test' fills no window of 99000000 tokens"):
        document_windows(Letters(), "code", "test", length=99_000_000, count=1)
    with pytest.raises(ValueError, match="length: 1 is too small for a window; choose 2"):
        document_windows(Letters(), "code", "test", length=1, count=1)


def test_the_start_inside_a_document_depends_on_its_name_only() -> None:
    ids = list(range(50))
    starts = {windows.inside(f"n{i}", ids, 10)[0] for i in range(40)}
    assert len(starts) > 15 and max(starts) <= 40
    assert windows.inside("same", list(range(10)), 10) == list(range(10))
