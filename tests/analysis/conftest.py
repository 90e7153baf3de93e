"""The recorded runs, as they are committed and as copies that a test may change."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECORDED = Path(__file__).parents[1] / "recorded" / "data"


@pytest.fixture
def recorded() -> Path:
    return RECORDED


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the recordings, as one from another machine would be."""
    return Path(shutil.copytree(RECORDED, tmp_path / "copied"))


@pytest.fixture
def change(copied: Path) -> Callable[..., None]:
    """Overwrite fields of one copied run's result."""

    def write(number: int, **fields: Any) -> None:
        path = copied / "runs" / f"{number:016x}" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return write
