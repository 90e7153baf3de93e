"""The density on /metrics: a worker writes counts, the API server's registry reads them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.integrations.vllm import metrics
from ffbench.integrations.vllm.batch import CurrentBatch
from ffbench.integrations.vllm.metrics import CountsFile, DensityCollector, counts_of_server


def prometheus() -> Any:
    """The library that vLLM brings; `make test-vllm` has it, the locks do not."""
    return pytest.importorskip("prometheus_client", reason="prometheus_client comes with vLLM")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process that has published nothing, with a registry of its own."""
    registry = prometheus().CollectorRegistry()
    monkeypatch.setattr(metrics, "_folder", None)
    monkeypatch.setattr(metrics, "registry", lambda: registry)
    monkeypatch.setenv(metrics.COUNTS, "")
    monkeypatch.delenv(metrics.SEVERAL_SERVERS, raising=False)
    yield registry
    if metrics._folder is not None:
        metrics._folder.cleanup()


def exposed(registry: Any) -> dict[str, float]:
    """What a server answers: names and values."""
    lines = prometheus().generate_latest(registry).decode().splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_counts_of_another_process_are_read(fresh: Any) -> None:
    metrics.publish()
    assert set(exposed(fresh).values()) == {0}
    code = (
        "from ffbench.integrations.vllm.metrics import counts_of_server\n"
        "counts_of_server(0).write(1024, 0.625); print(counts_of_server(1))"
    )
    worker = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True
    )
    assert worker.stdout.strip() == "None"  # another rank counts the same tokens
    assert exposed(fresh) == {
        "ffbench_prompt_tokens_total": 1024,
        "ffbench_ffn_prompt_tokens_total": 640,
        "ffbench_ffn_density": 0.625,
    }


def test_another_engine_of_the_process_counts_anew(fresh: Any) -> None:
    metrics.publish()
    path = os.environ[metrics.COUNTS]
    counts = counts_of_server(0)
    assert counts is not None
    counts.write(10, 0.5)
    metrics.publish()
    assert os.environ[metrics.COUNTS] == path
    assert exposed(fresh)["ffbench_prompt_tokens_total"] == 0
    counts.write(20, 0.5)  # the first one still runs
    assert exposed(fresh)["ffbench_prompt_tokens_total"] == 20


def test_a_batch_writes_its_counts_only_when_there_are_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, counts = CurrentBatch(SimpleNamespace(), None), CountsFile(tmp_path / "counts")  # type: ignore[arg-type]
    batch.publish(counts)
    assert counts.read() == (0, 1.0) and not (tmp_path / "counts").read_bytes()
    batch.prefill.total, batch.prefill.used, batch.prompt_rows = 200, 130, 20
    batch.publish(counts)
    assert counts.read() == (20, 0.65)
    monkeypatch.setattr(os, "pwrite", lambda *_: pytest.fail("nothing is new"))
    batch.publish(counts)


def test_several_api_servers_have_the_density_in_the_log_only(
    fresh: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv(metrics.SEVERAL_SERVERS, "folder")
    metrics.publish()
    assert "not on /metrics" in caplog.text
    assert exposed(fresh) == {} and counts_of_server(0) is None


def test_a_server_starts_without_the_metric_where_no_file_can_be_made(
    fresh: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    def refused(**_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(metrics.tempfile, "TemporaryDirectory", refused)
    metrics.publish()
    assert "no density on /metrics (no space left); it is in the log" in caplog.text
    monkeypatch.setenv(metrics.COUNTS, str(tmp_path / "of another host"))
    assert counts_of_server(0) is None


def test_the_collector_describes_each_metric(tmp_path: Path) -> None:
    prometheus()
    counts = CountsFile(tmp_path / "counts")
    counts.write(8, 0.25)
    families = list(DensityCollector(counts).collect())
    assert [family.type for family in families] == ["counter", "counter", "gauge"]
    assert all(family.documentation for family in families)
