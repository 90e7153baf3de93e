"""What computes the rows of a batch: the model's own module or the kernels; and their weights."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fused_ffn import fused_ffn
from tiny_plans import random_tiny_plan, tiny_model
from torch import Tensor

from ffbench.integrations.vllm.batch import CurrentBatch
from ffbench.integrations.vllm.layer import ROWS_PER_THREAD, BatchFFN
from ffbench.integrations.vllm.mlp import PlanMLP
from ffbench.integrations.vllm.positions import RequestRows, batch_layout
from ffbench.integrations.vllm.weights import keep_unpacked
from ffbench.methods.float32_products import linear
from ffbench.models import sparse_ffn
from ffbench.models.adapters import gated_ffns
from ffbench.models.prefill_state import Prefill

KERNELS = ("dense_gated_ffn", "sparse_gated_ffn")
PROMPT, ENDS, HIDDEN = 256, 16, 64  # dense tokens at each end of a prompt
Calls = dict[str, list[int]]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Rows of each call of a kernel; `ffn_of` adds those of the module."""
    found: Calls = {name: [] for name in ("module", *KERNELS)}
    for name in KERNELS:
        monkeypatch.setattr(sparse_ffn, name, counting(getattr(sparse_ffn, name), found[name]))
    return found


def counting(kernel: Any, rows: list[int]) -> Any:
    def counted(x: Tensor, *rest: Any, **more: Any) -> Tensor:
        rows.append(len(x))
        return kernel(x, *rest, **more)  # type: ignore[no-any-return]

    return counted


def ffn_of(model: Any, calls: Calls, **changed: Any) -> BatchFFN:
    plan = random_tiny_plan(model, first_dense=ENDS, last_dense=ENDS, **changed)
    neurons = len(plan.layers[0].order)
    plan.layers[0].order = torch.randperm(neurons, generator=torch.Generator().manual_seed(0))
    mlp = fused_ffn(gated_ffns(model)[0])
    mlp.register_forward_pre_hook(lambda _, args: calls["module"].append(len(args[0])))
    return BatchFFN(
        index=0, mlp=mlp, activation="silu", plan=plan, prefill=Prefill(), backend="torch"
    )


def run(ffn: BatchFFN, requests: list[RequestRows], min_tokens: int = 0) -> None:
    rows = requests[-1].end
    x = torch.randn(rows, HIDDEN, generator=torch.Generator().manual_seed(0))
    ffn.forward(x, batch_layout(ffn.sparse.plan.settings, requests, rows, min_tokens))


def called(calls: Calls) -> Calls:
    return {name: rows for name, rows in calls.items() if rows}


def decoding(number: int) -> list[RequestRows]:
    """A pass that decodes one token of each of some requests."""
    return [
        RequestRows(start=i, end=i + 1, offset=PROMPT + i, prompt_tokens=PROMPT)
        for i in range(number)
    ]


def prompt(start: int, offset: int = 0, count: int = PROMPT) -> RequestRows:
    return RequestRows(start=start, end=start + count, offset=offset, prompt_tokens=PROMPT)


@pytest.mark.parametrize("rows", [1, 8, 100])
def test_decoding_runs_in_the_models_own_module(model: Any, calls: Calls, rows: int) -> None:
    run(ffn_of(model, calls), decoding(rows))
    assert called(calls) == {"module": [rows]}


def test_prompts_without_sparse_rows_run_in_the_models_own_module(model: Any, calls: Calls) -> None:
    run(ffn_of(model, calls), [*decoding(2), prompt(2)], min_tokens=PROMPT + 1)
    run(ffn_of(model, calls), [prompt(0, PROMPT - ENDS, ENDS)])
    assert called(calls) == {"module": [PROMPT + 2, ENDS]}


def test_passes_without_attention_run_in_the_models_own_module(model: Any, calls: Calls) -> None:
    ffn = ffn_of(model, calls)
    batch = CurrentBatch(ffn.sparse.plan, runner=None)
    mlp = PlanMLP("name", ffn, batch, ranks=1)
    mlp.run(torch.zeros(300, HIDDEN), SimpleNamespace(attn_metadata=None))
    assert called(calls) == {"module": [300]}


def test_decoded_rows_beside_a_prompt_run_in_the_models_own_module(
    model: Any, calls: Calls
) -> None:
    run(ffn_of(model, calls), [*decoding(3), prompt(3, ENDS, 128)])
    assert called(calls) == {"module": [3], "sparse_gated_ffn": [128]}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("missing", [0, 1])
def test_dense_rows_for_all_threads_run_in_the_kernel(
    model: Any, calls: Calls, monkeypatch: pytest.MonkeyPatch, threads: int, missing: int
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    rows = ROWS_PER_THREAD * threads - missing
    run(ffn_of(model, calls), [*decoding(rows), prompt(rows, ENDS, 128)])
    assert called(calls) == {"sparse_gated_ffn": [128]} | {
        "module" if missing else "dense_gated_ffn": [rows]
    }


def test_a_layer_that_keeps_every_neuron_is_one_call(model: Any, calls: Calls) -> None:
    ffn = ffn_of(model, calls, sparsity=0.0)
    run(ffn, [*decoding(2), prompt(2)])
    assert called(calls) == {"dense_gated_ffn": [PROMPT + 2]}
    assert ffn.prefill.density == 1 and ffn.prefill.total == PROMPT * ffn.neurons


def test_the_module_and_the_kernels_read_the_same_weights(model: Any, calls: Calls) -> None:
    ffn = ffn_of(model, calls)
    own, read = ffn.mlp, ffn.sparse.ffn
    f = ffn.neurons
    for ours, theirs in (
        (own.gate_up_proj.weight[:f], read.w_gate),
        (own.gate_up_proj.weight[f:], read.w_up),
        (own.down_proj.weight.T, ffn.sparse.w_down_t),
    ):
        assert ours.data_ptr() == theirs.data_ptr() and ours.stride() == theirs.stride()
    # and their storages hold nothing else
    held = own.gate_up_proj.weight.untyped_storage().nbytes()
    held += own.down_proj.weight.untyped_storage().nbytes()
    assert held == 3 * f * HIDDEN * 4


def test_the_order_of_neurons_does_not_change_the_module(model: Any, calls: Calls) -> None:
    ffn, dense = ffn_of(model, calls, hot_fraction=0.25), fused_ffn(gated_ffns(model)[0])
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ffn.mlp(x), dense(x), rtol=0, atol=1e-5)


def test_vllms_mlp_is_told_to_keep_its_weights_and_not_to_sum_ranks() -> None:
    mlp = SimpleNamespace(gate_up_proj=SimpleNamespace(), down_proj=SimpleNamespace())
    keep_unpacked(mlp)
    assert mlp.gate_up_proj.cpu_linear is mlp.down_proj.cpu_linear is linear
    assert mlp.down_proj.reduce_results is False
