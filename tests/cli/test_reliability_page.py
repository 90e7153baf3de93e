"""docs/reliability.md counts the bad inputs that are tried, and names tests that exist."""

import importlib.util
import math
import re
from pathlib import Path
from types import FunctionType

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
TABLES = sorted(Path(__file__).parent.glob("test_bad_*.py"))


def inputs(path: Path) -> int:
    """Cases of a test file: the rows of each test's tables multiplied, 1 for a test without one."""
    spec = importlib.util.spec_from_file_location(f"counted_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [
        value
        for name, value in vars(module).items()
        if name.startswith("test_") and isinstance(value, FunctionType)
    ]
    return sum(
        math.prod(len(mark.args[1]) for mark in getattr(test, "pytestmark", [])) for test in tests
    )


def test_the_count_of_bad_inputs_is_true() -> None:
    expected = (
        f"{len(TABLES)} files `tests/cli/test_bad_*.py` have {sum(map(inputs, TABLES))} inputs"
    )
    assert expected in " ".join(PAGE.split())


def test_the_tests_that_are_named_exist() -> None:
    """A name without a folder is in the folder of the one before it."""
    table = PAGE.partition("## Longer trials")[0]
    folder = None
    for name in re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", table):
        folder = (ROOT / name).parent if "/" in name else folder
        assert folder is not None and (folder / Path(name).name).is_file(), name
