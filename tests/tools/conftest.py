"""The recorded runs, and a checkout with them as committed results."""

from pathlib import Path

import pytest

from tools.docs import take

RECORDED = Path(__file__).parents[1] / "recorded" / "data"


@pytest.fixture
def recorded() -> Path:
    return RECORDED


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose committed results are the recordings."""
    for name in ("default", "longbench"):
        take.take(RECORDED, tmp_path / take.RESULTS / name)
    for path in RECORDED.glob("*.jsonl"):
        (tmp_path / take.RESULTS / path.name).write_text(path.read_text())
    return tmp_path
