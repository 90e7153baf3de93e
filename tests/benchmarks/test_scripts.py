"""Every benchmark script: it imports with today's core, and says what it measures and how."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def is_script(path: Path) -> bool:
    """Whether a file runs something when it is started."""
    return '__name__ == "__main__"' in path.read_text(encoding="utf-8")


SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if is_script(path))


def test_scripts_are_found() -> None:
    assert {"accuracy_selectors", "depth", "overhead", "union_mass"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).parent == FOLDER
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    try:
        code = module.main()
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr().out
    first, second = str(module.__doc__).split("\n")[:2]
    assert code == 0 and printed.startswith("usage: ") and first in printed
    assert first.endswith(".") and not second, "the docstring starts with one sentence on one line"
    assert f"python benchmarks/{name}.py" in printed


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports_inside_functions_exist(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ff"):
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{node.module} has no {', '.join(missing)}"
