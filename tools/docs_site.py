"""MkDocs hook: pages from outside docs/, API pages, and links that leave the site.

README and the other documents of the repository's root become pages, and each package gets a page
that mkdocstrings fills. A link to any other file of the repository keeps only its text on the site,
if the file exists; if it does not, the link stays, and `mkdocs build --strict` fails for it.
"""

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "analysis/leaderboard.md": "leaderboard.md",
}
# Where each import package is found, by its name.
PACKAGES = {"ffbench": ROOT, "ffkernels": ROOT / "kernels", "ffanalysis": ROOT / "analysis"}
WITHOUT_API = {"notebooks"}
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def modules(package: str, parent: Path) -> Iterator[tuple[str, list[str]]]:
    """Each package in the folder `parent`, itself first, with the names of its modules."""
    for folder in sorted([parent / package, *(parent / package).rglob("*")]):
        if not (folder / "__init__.py").is_file() or WITHOUT_API & set(folder.parts):
            continue
        name = ".".join(folder.relative_to(parent).parts)
        own = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
        yield name, [name, *(f"{name}.{module}" for module in own)]


def api_page(name: str, names: list[str]) -> str:
    """Markdown of one package's page, for mkdocstrings to fill."""
    return f"# {name}\n\n" + "\n\n".join(f"::: {module}" for module in names) + "\n"


def repository_path(page: str) -> str:
    """Path in the repository of a page of the site."""
    for source, target in PAGES.items():
        if target == page:
            return source
    return f"docs/{page}"


def site_path(path: str) -> str | None:
    """Page of the site for a path in the repository, None if it has none."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return PAGES.get(path)


def site_links(markdown: str, page: str) -> str:
    """A page's Markdown with every relative link as the site needs it, code blocks untouched."""
    folder = posixpath.dirname(repository_path(page))

    def rewrite(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or ":" in target or target.startswith("/"):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        site = site_path(path)
        if site is None:
            # outside the site: only the text, unless the target is missing
            return match["text"] if (ROOT / path).exists() else match[0]
        new = posixpath.relpath(site, posixpath.dirname(page) or ".")
        return f"{match['image']}[{match['text']}]({new}{'#' + anchor if anchor else ''})"

    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)


def on_config(config: Any) -> Any:
    """Pass over brackets in docstrings: `[T, d] [f]` is a shape, not a reference."""
    logging.getLogger("mkdocs.plugins.mkdocs_autorefs").setLevel(logging.ERROR)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for source, target in PAGES.items():
        files.append(
            File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8"))
        )
    for package, parent in PACKAGES.items():
        for name, names in modules(package, parent):
            page = File.generated(config, f"api/{name}.md", content=api_page(name, names))
            files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the site needs them; API pages have none."""
    uri = page.file.src_uri
    return markdown if uri.startswith("api/") else site_links(markdown, uri)
