"""A fake W&B server, and no real W&B account in the tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_server import FakeWandb


@pytest.fixture
def wandb_server() -> Iterator[FakeWandb]:
    """A running fake W&B server."""
    pytest.importorskip("wandb")
    with FakeWandb() as server:
        yield server


@pytest.fixture
def wandb_environment(wandb_server: FakeWandb, tmp_path: Path) -> dict[str, str]:
    """Environment of a client process that talks to the fake server, with this Python first on
    PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return (
        kept
        | wandb_server.environment()
        | {
            "NETRC": str(tmp_path / "netrc"),
            "WANDB_DIR": str(tmp_path),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "WANDB_AGENT_DISABLE_FLAPPING": "true",
            "WANDB_CACHE_DIR": str(tmp_path / "cache"),
            "WANDB_CONFIG_DIR": str(tmp_path / "config"),
            "WANDB_DATA_DIR": str(tmp_path / "data"),
        }
    )
