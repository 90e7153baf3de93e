"""The embedded text as split: parts share no passage, pinned files, a hash of the split."""

import logging
import re
from itertools import combinations
from pathlib import Path

import pytest

from ffbench.data import embedded_text
from ffbench.data.embedded_text import (
    KINDS,
    PARTS,
    SHARES,
    calibration_chunks,
    data_hash,
    docstrings,
    documents,
    read_pinned,
    split,
)


def runs_of_words(part: str) -> set[str]:
    """Every 30 words in a row of a part, written anew without the module's own shingles."""
    found = set()
    for kind in KINDS:
        for text in documents(kind, part).values():
            words = re.findall(r"\S+", text)
            found |= {" ".join(words[i : i + 30]) for i in range(len(words) - 29)}
    return found


def test_no_part_shares_thirty_words_in_a_row_with_another() -> None:
    runs = {part: runs_of_words(part) for part in PARTS}
    assert all(len(found) > 5000 for found in runs.values())
    for one, other in combinations(PARTS, 2):
        assert not runs[one] & runs[other], (one, other)


def test_every_kind_of_every_part_has_about_its_share() -> None:
    for kind in KINDS:
        sizes = {part: sum(map(len, documents(kind, part).values())) for part in PARTS}
        for part, share in SHARES.items():
            assert sizes[part] / sum(sizes.values()) > 0.6 * share / 100, (kind, part)
    assert sum(SHARES.values()) == 100
    assert sum(map(len, documents("prose", "calibration").values())) > 400_000


def test_the_text_is_split_once_per_process() -> None:
    assert split() is split()


def test_no_file_is_listed_twice_or_made_by_a_build() -> None:
    text = embedded_text.FILE_LIST.read_text()
    names = re.findall(r'"([\w/]+\.py)"', text)
    assert len(names) == len(set(names)) > 200 and "_sysconfigdata" not in text


def test_a_pinned_file_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "there.py").write_text("x = 1\n")
    assert read_pinned(tmp_path, ["gone.py", "there.py"]) == ({"there.py": "x = 1\n"}, ["gone.py"])
    listed = tmp_path / "list.json"
    listed.write_text('{"docstrings": ["gone_one.py"], "code": ["gone_two.py", "abc.py"]}')
    monkeypatch.setattr(embedded_text, "FILE_LIST", listed)
    with caplog.at_level(logging.WARNING):
        found = embedded_text.all_documents.__wrapped__()
    assert "lacks 2 of 3 pinned files, which are skipped: gone_one.py, gone_two.py" in caplog.text
    assert ("code", "abc.py") in found


def test_docstrings_of_a_file() -> None:
    long = "A sentence that is long enough to be more than the name of a function. " * 3
    source = (
        f'#! a comment\n# licence\n"""{long}"""\nx = """not {long}"""\n\ndef f():  # note\n'
        f'    r"""Second. {long}"""\n\nclass C:\n    """Short."""\n\n    def g(self):\n'
        f'        """{long}\n\n        >>> 1\n        """\n'
    )
    assert docstrings(source) == f"{long.strip()}\n\nSecond. {long.strip()}"


def test_the_hash_names_the_text_as_split(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data_hash.__wrapped__()
    assert whole == data_hash() and re.fullmatch("[0-9a-f]{64}", whole)
    parts = split()
    moved = {part: dict(texts) for part, texts in parts.items()}
    name = next(iter(moved["heldout"]))
    moved["calibration"][name] = moved["heldout"].pop(name)
    monkeypatch.setattr(embedded_text, "split", lambda: moved)
    assert data_hash.__wrapped__() != whole
    monkeypatch.setattr(embedded_text, "split", lambda: parts)
    assert data_hash.__wrapped__() == whole


def test_unknown_kinds_and_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="text part 'task_train' is unknown; valid: calibration"):
        documents("prose", "task_train")
    with pytest.raises(ValueError, match="text kind 'poem' is unknown; valid: prose, code"):
        documents("poem", "test")


def test_calibration_begins_with_text_of_many_documents() -> None:
    for kind in KINDS:
        chunks, whole = calibration_chunks(kind), documents(kind, "calibration")
        assert sum(map(len, chunks.values())) == sum(map(len, whole.values()))
        first = {re.sub(r":\d+$", "", name) for name in list(chunks)[:20]}
        assert len(first) > 8 and first <= set(whole)
