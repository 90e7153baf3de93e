"""What a pass of vLLM's model runner is: its layout, once for all layers, and its counts."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ffbench.integrations.vllm.batch import CurrentBatch
from ffbench.methods.plan import SparsePlan
from ffbench.methods.plan_files import plan_settings

METHODS = {"selector": "trained", "compensator": "none", "scheduler": "uniform"}
CPU = torch.device("cpu")


class Context:
    """Stands in for vLLM's forward context."""

    def __init__(self, attn_metadata: Any = True) -> None:
        self.attn_metadata = attn_metadata


def runner(cached: list[int], scheduled: list[int], prompts: list[int]) -> Any:
    # buffers are longer than the batch, with rests of earlier batches behind
    starts = np.array([0, *np.cumsum(scheduled), 99, 99], dtype=np.int32)
    batch = SimpleNamespace(
        num_reqs=len(cached),
        num_computed_tokens_cpu=np.array([*cached, 7]),
        num_prompt_tokens=np.array([*prompts, 7]),
    )
    return SimpleNamespace(input_batch=batch, query_start_loc=SimpleNamespace(np=starts))


def plan(min_tokens: int = 0) -> SparsePlan:
    node: dict[str, Any] = {name: {"name": method} for name, method in METHODS.items()}
    sizes = {"block_size": 8, "sparsity": 0.5, "first_dense": 4, "last_dense": 4}
    return SparsePlan(plan_settings(node | sizes), {}, [], min_tokens)


def test_requests_come_from_the_runner() -> None:
    batch = CurrentBatch(plan(), runner([40, 16, 0], [1, 20, 30], [40, 60, 30]))
    layout = batch.layout(Context(), 51, CPU)
    assert layout is not None
    assert [(p.start, p.end, p.leading) for p in layout.sparse] == [(1, 21, 0), (25, 47, 4)]
    assert layout.prompt_rows == 50
    assert batch.dense_rows is not None
    assert batch.dense_rows.tolist() == [0, 21, 22, 23, 24, 47, 48, 49, 50]


def test_passes_without_attention_are_dense_and_count_nowhere() -> None:
    batch = CurrentBatch(plan(), runner([0], [30], [30]))
    assert batch.layout(Context(None), 30, CPU) is None
    assert batch.prefill.total == batch.prompt_rows == 0


def test_a_dummy_pass_before_any_request_is_dense() -> None:
    batch = CurrentBatch(plan(), runner([], [], []))
    layout = batch.layout(Context(), 16, CPU)
    assert layout is not None and not layout.sparse and layout.prompt_rows == 0


def test_layers_of_one_pass_share_a_layout_and_passes_do_not() -> None:
    run = runner([0], [30], [30])
    batch = CurrentBatch(plan(), run)
    first = Context()
    layout = batch.layout(first, 30, CPU)
    assert batch.layout(first, 30, CPU) is layout and batch.prompt_rows == 30
    batch.runner = runner([30], [1], [30])
    other = batch.layout(Context(), 1, CPU)
    assert other is not None and not other.sparse and batch.dense_rows is None
    del first
    assert batch.layout(Context(), 1, CPU) is not layout


def test_short_prompts_are_dense() -> None:
    batch = CurrentBatch(plan(min_tokens=31), runner([0], [30], [30]))
    layout = batch.layout(Context(), 30, CPU)
    assert layout is not None and not layout.sparse


def test_density_is_logged_once_in_ten_seconds_by_the_first_rank(caplog: Any) -> None:
    caplog.set_level(logging.INFO, logger="vllm.ffbench")
    for rank in (1, 0):
        batch = CurrentBatch(plan(), runner([], [], []), rank)
        batch.report(0.0)  # nothing to tell yet
        batch.prefill.total, batch.prefill.used, batch.prompt_rows = 200, 130, 20
        for now in (0.0, 9.9, 10.1):
            batch.report(now)
    assert [r.getMessage() for r in caplog.records] == [
        "ffbench: density 0.650 of the FFN over 20 prompt tokens so far (1 is dense)"
    ] * 2
    assert batch.prefill.density == pytest.approx(0.65)
