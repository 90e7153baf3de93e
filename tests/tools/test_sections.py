"""The marker engine, and that this repository's generated parts are up to date."""

import re
from pathlib import Path

import pytest

from tools.docs import sections
from tools.docs.generators import PARTS, PICTURES
from tools.docs.sections import SectionError, closing, filled, main, opening

ROOT = Path(__file__).parents[2]


def page(root: Path, *names: str, text: str = "old") -> Path:
    parts = [f"{opening(name)}\n{text}\n{closing(name)}" for name in names]
    (root / "docs").mkdir(exist_ok=True)
    path = root / "docs" / "page.md"
    path.write_text("\n".join(["before", *parts, "after"]) + "\n")
    return path


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(PARTS):
        monkeypatch.delitem(PARTS, name)
    monkeypatch.setitem(PARTS, "one", lambda root: "made one")
    monkeypatch.setitem(PARTS, "two", lambda root: "\nmade two\n")
    for name in list(PICTURES):
        monkeypatch.delitem(PICTURES, name)
    monkeypatch.setitem(PICTURES, "dot", ("docs/dot.svg", lambda root, path: path.write_text("o")))


@pytest.mark.usefixtures("two")
def test_write_fills_every_part_and_picture_and_check_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = page(tmp_path, "one", "two")
    root = ["--root", str(tmp_path)]
    assert main(["--check", *root]) == 2
    errors = capsys.readouterr().err
    assert "docs/page.md is out of date; run: python -m tools.docs.sections" in errors
    assert "docs/dot.svg is out of date" in errors and "old" in path.read_text()
    assert main(["--write", *root]) == 0
    expected = [
        "before",
        opening("one"),
        "made one",
        closing("one"),
        opening("two"),
        "made two",
        closing("two"),
        "after",
    ]
    assert path.read_text().splitlines() == expected
    assert (tmp_path / "docs" / "dot.svg").read_text() == "o"
    assert main(["--check", *root]) == 0 and main(["--write", *root]) == 0


@pytest.mark.usefixtures("two")
def test_only_the_named_parts_are_made(tmp_path: Path) -> None:
    path = page(tmp_path, "one", "two")
    assert main(["--write", "two", "--root", str(tmp_path)]) == 0
    assert "old" in path.read_text() and "made two" in path.read_text()
    assert not (tmp_path / "docs" / "dot.svg").exists()
    with pytest.raises(SystemExit):
        main(["--write", "three", "--root", str(tmp_path)])


@pytest.mark.usefixtures("two")
def test_an_older_mark_is_rewritten_too(tmp_path: Path) -> None:
    path = page(tmp_path, "one")
    path.write_text(path.read_text().replace(sections.COMMAND, "make readme"))
    assert opening("one") in filled(path, tmp_path)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (opening("three"), "docs/page.md: the part 'three' has no generator; known: one, two"),
        (opening("one") + "\n", "the part 'one' is not closed; add the line <!-- end of one -->"),
        (2 * f"{opening('one')}\n{closing('one')}\n", "the part 'one' is there twice"),
    ],
)
def test_a_page_that_cannot_be_filled_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = page(tmp_path)
    path.write_text(text)
    with pytest.raises(SectionError, match=re.escape(message)):
        filled(path, tmp_path)
    assert main(["--write", "--root", str(tmp_path)]) == 2 and path.read_text() == text


@pytest.mark.parametrize("path", sections.pages(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_generated_parts_of_this_repository_are_up_to_date(path: Path) -> None:
    assert filled(path, ROOT) == path.read_text(), f"run: {sections.COMMAND}"


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_this_repository_are_up_to_date(name: str) -> None:
    assert list(sections.changed_pictures(ROOT, [name])) == [], f"run: {sections.COMMAND}"
