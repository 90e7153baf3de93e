"""Keep the generated parts of README, docs and leaderboard equal to what the repository holds.

python -m tools.docs.sections --write            rewrite every generated part
python -m tools.docs.sections --check            exit code 2 if a part or picture is out of date
python -m tools.docs.sections --write frames     only these parts

A generated part is between two marks and has the name of its generator:

    <!-- NAME: made by `python -m tools.docs.sections --write` -->
    <!-- end of NAME -->

It may be moved to any page. The generators are listed in `tools.docs.generators`.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ffanalysis.frames import LoadError
from tools.docs.generators import PARTS, PICTURES

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/**/*.md", "analysis/*.md")
COMMAND = "python -m tools.docs.sections --write"
OPENING = re.compile(r"<!-- (?P<name>[a-z0-9_]+): made by .*? -->")


class SectionError(ValueError):
    """A page cannot be filled; the text names the page and what to do."""


def opening(name: str) -> str:
    """The line above a part."""
    return f"<!-- {name}: made by `{COMMAND}` -->"


def closing(name: str) -> str:
    """The line below a part."""
    return f"<!-- end of {name} -->"


def pages(root: Path) -> list[Path]:
    """The Markdown files that may have generated parts."""
    return sorted(path for pattern in PAGES for path in root.glob(pattern))


def filled(page: Path, root: Path, only: Sequence[str] = ()) -> str:
    """The page's text with its parts made anew, or only those in `only`.

    Raises:
        SectionError: a mark is unknown, not closed or there twice.
        LoadError: a committed result cannot be read.

    """
    text = page.read_text(encoding="utf-8")
    names = [match["name"] for match in OPENING.finditer(text)]
    for name in names:
        where = f"{page.relative_to(root)}: the part {name!r}"
        if name not in PARTS:
            raise SectionError(f"{where} has no generator; known: {', '.join(sorted(PARTS))}")
        if names.count(name) > 1:
            raise SectionError(f"{where} is there twice")
        head = next(match for match in OPENING.finditer(text) if match["name"] == name)
        before, rest = text[: head.start()], text[head.end() :]
        _, mark, after = rest.partition(closing(name))
        if not mark:
            raise SectionError(f"{where} is not closed; add the line {closing(name)}")
        if not only or name in only:
            made = PARTS[name](root).strip("\n")
            text = f"{before}{opening(name)}\n{made}\n{closing(name)}{after}"
    return text


def changed_pages(root: Path, only: Sequence[str] = ()) -> Iterator[tuple[Path, str]]:
    """Pages whose generated parts are out of date, with the text that they should have."""
    for page in pages(root):
        text = filled(page, root, only)
        if text != page.read_text(encoding="utf-8"):
            yield page, text


def changed_pictures(root: Path, only: Sequence[str] = ()) -> Iterator[tuple[Path, bytes]]:
    """Pictures that are out of date, with their new content."""
    for name, (place, draw) in PICTURES.items():
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / Path(place).name
            draw(root, made)
            content = made.read_bytes()
        target = root / place
        if not target.exists() or target.read_bytes() != content:
            yield target, content


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when up to date or rewritten, 2 if something is out of date or cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.docs.sections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="change nothing")
    mode.add_argument("--write", action="store_true", help="rewrite what is out of date")
    parser.add_argument("names", nargs="*", help="only these parts and pictures")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in (*PARTS, *PICTURES)]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join((*PARTS, *PICTURES))}")
    try:
        changes: list[tuple[Path, bytes]] = [
            (page, text.encode()) for page, text in changed_pages(options.root, options.names)
        ]
        changes += changed_pictures(options.root, options.names)
    except (SectionError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, content in changes:
        if options.write:
            path.write_bytes(content)
            print(path.relative_to(options.root))
        else:
            name = path.relative_to(options.root)
            print(f"error: {name} is out of date; run: {COMMAND}", file=sys.stderr)
    return 2 if changes and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
