"""The documentation site: links of pages from all over the repository, and dead ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")

from tools import docs_site

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("page", "markdown", "expected"),
    [
        ("index.md", "[a](docs/kernels.md#time)", "[a](kernels.md#time)"),
        ("index.md", "![p](docs/pareto.svg)", "![p](pareto.svg)"),
        ("index.md", "[c](CHANGELOG.md)", "[c](changelog.md)"),
        ("index.md", "see [the licence](LICENSE).", "see the licence."),
        ("kernels.md", "[r](../README.md#use-it)", "[r](index.md#use-it)"),
        ("kernels.md", "[l](../analysis/leaderboard.md)", "[l](leaderboard.md)"),
        ("kernels.md", "[s](sweeps.md) [h](#here)", "[s](sweeps.md) [h](#here)"),
        ("experiments/map.md", "[k](../kernels.md)", "[k](../kernels.md)"),
        ("experiments/map.md", "[r](../../README.md)", "[r](../index.md)"),
        ("kernels.md", "[w](https://example.org/x.md)", "[w](https://example.org/x.md)"),
        ("kernels.md", "[gone](../no_such_file.py)", "[gone](../no_such_file.py)"),
        ("kernels.md", "```\n[s](../LICENSE)\n```\n", "```\n[s](../LICENSE)\n```\n"),
    ],
)
def test_links(page: str, markdown: str, expected: str) -> None:
    assert docs_site.site_links(markdown, page) == expected


def test_every_package_has_an_api_page_and_every_module_is_on_one() -> None:
    for package, parent in docs_site.PACKAGES.items():
        pages = dict(docs_site.modules(package, parent))
        on_pages = {module for names in pages.values() for module in names}
        files = (path.relative_to(parent) for path in (parent / package).rglob("*.py"))
        expected = {
            ".".join(path.with_suffix("").parts)
            for path in files
            if not path.stem.startswith("__") and "notebooks" not in path.parts
        }
        assert expected <= on_pages
        assert package in pages


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture()
def repository(tmp_path: Path) -> Path:
    """A repository with one page and one module under this repository's mkdocs.yml."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "docs_site.py", tmp_path / "tools")
    for name, text in {
        "README.md": "# Start\n\n[page](docs/page.md#a-part) [code](ffbench/__init__.py)\n",
        "CHANGELOG.md": "# Changelog\n",
        "CONTRIBUTING.md": "# Contributing\n",
        "analysis/leaderboard.md": "# Leaderboard\n",
        "docs/page.md": "# Page\n\n## A part: `x=y`\n\n[start](../README.md)\n",
        "ffbench/__init__.py": '"""A package."""\n\n\ndef double(x: int) -> int:\n    """Twice x."""\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_site_with_living_links_builds(repository: Path) -> None:
    readme = repository / "README.md"
    readme.write_text(readme.read_text().replace("#a-part", "#a-part-xy"))
    done = build(repository)
    assert done.returncode == 0, done.stderr
    assert 'href="page.html#a-part-xy"' in (repository / "site" / "index.html").read_text()
    assert "Twice x." in (repository / "site" / "api" / "ffbench.html").read_text()


@pytest.mark.parametrize("link", ["docs/gone.md", "gone.py", "docs/page.md#gone"])
def test_a_dead_link_fails(repository: Path, link: str) -> None:
    (repository / "README.md").write_text(f"# Start\n\n[dead]({link})\n")
    done = build(repository)
    assert done.returncode == 1 and "gone" in done.stderr
