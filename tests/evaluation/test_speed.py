"""Speed stage on the tiny models: the fields, what is timed, and what is left as it was."""

from typing import Any

import pytest
import torch

from ffbench.evaluation import speed
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan

FIELDS = {"tokens", "ratio", "p20", "p80", "dense_s", "sparse_s", "rounds"}


def settings(**changes: Any) -> PlanSettings:
    values = {
        "selector": "trained",
        "compensator": "surrogate",
        "scheduler": "uniform",
        "block_size": 16,
        "sparsity": 0.5,
        "rank": 8,
    }
    return PlanSettings(**(values | changes))


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]


@pytest.fixture
def plan(model: Any) -> SparsePlan:
    return random_plan(model, settings())


def test_ttft_fields_and_order(model: Any, plan: SparsePlan) -> None:
    figures = speed.measure_ttft(model, plan, [70, 33], rounds=3, threads=1, backend="torch")
    assert [one["tokens"] for one in figures] == [70, 33]
    for one in figures:
        assert set(one) == FIELDS and one["rounds"] == 3
        assert one["p20"] <= one["ratio"] <= one["p80"] and one["sparse_s"] > 0


def test_ffn_is_part_of_the_prefill(model: Any, plan: SparsePlan) -> None:
    times = speed.prefill_times(model, plan, [200], 2, 1, "torch")[0]
    for name in ("dense", "sparse"):
        assert all(
            0 < ffn < whole for ffn, whole in zip(times.ffn[name], times.prefill[name], strict=True)
        )
    assert set(speed.measure_ffn(model, plan, 70, 1, 1, "torch")) == FIELDS


def test_rounds_alternate_on_the_same_ids_with_a_cache(
    model: Any, plan: SparsePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple] = []
    kind, forward = type(model), type(model).forward

    def spy(self: Any, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        out = forward(self, input_ids, **kwargs)
        seen.append(
            (
                self is model,
                input_ids.tolist(),
                out.logits.shape[1],
                out.past_key_values is not None,
            )
        )
        return out

    monkeypatch.setattr(kind, "forward", spy)
    ids = torch.arange(100) % 259
    speed.measure_ttft(model, plan, [40], rounds=2, threads=1, backend="torch", ids=ids)
    assert [one[0] for one in seen] == [True, False] * 3
    assert all(one[1:] == ([ids[:40].tolist()], 1, True) for one in seen)


def test_the_twin_runs_sparse_and_the_model_stays_dense(plan: SparsePlan) -> None:
    model = load_tiny(ModelSpec("tiny", "tiny", "qwen3"))[0]
    hot_plan = random_plan(model, settings(hot_fraction=0.5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.arange(90).unsqueeze(0)
    dense = model(ids).logits
    twin = speed.twin_of(model)
    assert all(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    with speed.sparse_prefill(twin, hot_plan, "torch") as usage:
        inside, sparse = model(ids).logits, twin(ids).logits
    assert torch.allclose(inside, dense, atol=1e-4) and usage.density < 1
    assert (sparse - dense).abs().max() > 10 * (inside - dense).abs().max()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_hooks_and_threads_are_restored(model: Any, plan: SparsePlan) -> None:
    before = torch.get_num_threads()
    speed.measure_ffn(model, plan, 40, 1, before + 1, "torch")
    assert torch.get_num_threads() == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rounds": 0}, "rounds: expected at least 1, received 0"),
        ({"threads": 0}, "threads: expected at least 1"),
        ({"lengths": [0]}, "tokens: expected at least 1"),
        ({"lengths": [9], "ids": torch.arange(8)}, "at least 9 token"),
    ],
)
def test_bad_arguments(model: Any, plan: SparsePlan, change: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"lengths": [20], "rounds": 1, "threads": 1, "backend": "torch"}
    with pytest.raises(ValueError, match=text):
        speed.measure_ttft(model, plan, **(arguments | change))


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({512: 0.9, 1024: 1.0, 2048: 1.2}, 1024),
        ({512: 1.1, 1024: 0.99, 2048: 1.2}, 2048),
        ({512: 1.2, 64: 1.1}, 64),
        ({512: 1.1, 1024: 0.9}, None),
        ({}, None),
    ],
)
def test_break_even(ratios: dict[int, float], expected: int | None) -> None:
    assert speed.break_even([{"tokens": n, "ratio": r} for n, r in ratios.items()]) == expected
