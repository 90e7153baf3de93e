"""Text files have an encoding of their own: a user's locale may be plain ASCII."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("ffbench", "kernels", "analysis", "tools", "benchmarks")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# open() of these takes no text, or has another signature
OTHER_OPEN = {"os", "archive", "WandbTracker"}


def mode_of(call: ast.Call, position: int) -> str:
    given = [node for node in call.args[position : position + 1]]
    given += [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    return str(getattr(given[0], "value", "b")) if given else "r"


def without_encoding(source: str) -> Iterator[int]:
    """Lines that read or write text in the locale's encoding."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or any(k.arg == "encoding" for k in call.keywords):
            continue
        function = call.func
        method = isinstance(function, ast.Attribute)
        name = function.attr if method else getattr(function, "id", "")
        if name == "read_text" and not call.args or name == "write_text" and len(call.args) == 1:
            yield call.lineno
        if name == "open" and getattr(getattr(function, "value", None), "id", "") not in OTHER_OPEN:
            mode = mode_of(call, 0 if method else 1)
            if "b" not in mode and set(mode) <= set("rwax+t"):
                yield call.lineno


def test_every_text_file_is_opened_with_an_encoding() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := list(without_encoding(path.read_text("utf-8"))))
    }
    assert found == {}


def test_the_check_finds_what_it_looks_for() -> None:
    source = 'a.read_text()\nb.write_text("x")\nopen(c)\nd.open("w")\nopen(e, "rb")\nf.read_text("utf-8")'
    assert list(without_encoding(source)) == [1, 2, 3, 4]


@pytest.mark.parametrize("style", ["md", "html"])
def test_a_report_is_written_under_a_plain_ascii_locale(style: str, tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "tests" / "recorded" / "data", tmp_path / "out")
    target = tmp_path / f"report.{style}"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "ffbench", "report", "--output-dir", str(folder)]
        + ["--format", style, "--to", str(target)],
        capture_output=True,
        env=os.environ | ascii_only | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert target.read_text("utf-8").strip()
