"""Prompts through int8 copies of the FFN weights."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from simulated_card import on_card, simulated_card
from tiny_plans import prompt, random_tiny_plan, tiny_model
from tiny_settings import SMALL
from torch import Tensor

from ffbench import SparseModel, sparse_prefill
from ffbench.cli.compose import jobs_of
from ffbench.experiment.stages import run_key
from ffbench.models import int8_ffn
from ffbench.models.kernel_names import INT8, kernel_name
from ffbench.models.sparse_ffn import SparseFFN
from ffbench.settings import RunSettings
from ffbench.validation import problems
from ffkernels.int8 import quantize_rows

PLANS = [
    {},
    {"compensator": "surrogate"},
    {"compensator": "surrogate", "hot_fraction": 0.5},
    {"group_size": 2},
    {"scheduler": "per_block"},
    {"blocks": "similar", "compensator": "surrogate"},
]


def settings(*words: str) -> RunSettings:
    """Settings of a sparse run; speed is not measured."""
    return jobs_of(["model=tiny_llama", *SMALL, "sparsity=0.5", *words])[0].settings


def dequantized(w: Tensor | None) -> Tensor | None:
    """What the int8 rows of w [n, m] stand for."""
    return None if w is None else quantize_rows(w).dequantized()


def meet_rounded_weights(sparse: SparseFFN) -> None:
    """Let the float kernel of a prepared FFN multiply what its int8 rows stand for."""
    ffn, compensation = sparse.ffn, sparse.compensation
    rows = {"w_gate": dequantized(ffn.w_gate), "w_up": dequantized(ffn.w_up)}
    down = dequantized(sparse.w_down_t)
    assert down is not None
    sparse.ffn, sparse.w_down_t = replace(ffn, **rows), down
    sparse.compensation = replace(
        compensation, activation_map=dequantized(compensation.activation_map)
    )


@torch.no_grad()
@pytest.mark.parametrize("changes", PLANS, ids=lambda changes: "-".join(changes) or "plain")
def test_prompts_meet_the_rounded_weights(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a backend that does not round activations, so that only float32 rounding differs."""
    for name in ("sparse_gated_ffn_int8", "dense_gated_ffn_int8"):
        monkeypatch.setattr(int8_ffn, name, partial(getattr(int8_ffn, name), backend="torch"))
    model = tiny_model()
    plan, ids = random_tiny_plan(model, **changes), prompt(90)
    with sparse_prefill(model, plan, INT8) as prefill:
        rounded = model(ids).logits
    assert prefill.density < 1
    plain = SparseModel(model, plan, "torch")
    with plain.entered():
        assert not torch.allclose(rounded, model(ids).logits, atol=1e-4)
        for sparse in plain.prepared.values():
            meet_rounded_weights(sparse)
        torch.testing.assert_close(rounded, model(ids).logits, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_dense_prompts_are_rounded_too_and_decoding_is_not() -> None:
    model = tiny_model()
    plan, ids = random_tiny_plan(model), prompt(20)  # too short for a sparse block
    dense = model(ids)
    with sparse_prefill(model, plan, INT8) as prefill:
        prefill.short_reported = True
        rounded = model(ids, use_cache=True)
        cache = rounded.past_key_values
        with_plan = model(ids[:, :1], cache=cache).logits
    assert not torch.equal(rounded.logits, dense.logits)
    torch.testing.assert_close(rounded.logits, dense.logits, atol=0.1, rtol=0.1)
    cache.crop(-1)
    assert torch.equal(with_plan, model(ids[:, :1], cache=cache).logits)


def test_refusals() -> None:
    model = tiny_model()
    plan = random_tiny_plan(model)
    with (
        simulated_card(),
        pytest.raises(ValueError, match="it runs on the CPU"),
        sparse_prefill(on_card(model), plan, INT8),
    ):
        pass
    with pytest.raises(ValueError, match="'int8': it runs on the CPU, the model is on meta"):
        kernel_name(INT8, torch.empty(1, device="meta"))
    assert kernel_name(INT8, torch.empty(1)) == INT8
    lines = problems(settings("kernel=int8", "selector=teal", "compensator=none"))
    assert any(line.startswith("kernel.backend: int8 does not go with teal") for line in lines)


def test_int8_is_part_of_a_runs_key() -> None:
    keys = {run_key(settings(f"kernel={name}")) for name in ("native", "torch")}
    assert len(keys) == 1
    assert run_key(settings("kernel=int8")) not in keys
