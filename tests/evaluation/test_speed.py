"""Speed on the tiny models: the fields, what is timed, and what is left as it was."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.evaluation import baselines, speed, speed_processes
from ffbench.methods.plan import SparsePlan
from ffbench.models import shapes
from ffbench.models.loading import ModelSpec
from ffbench.models.sparse_prefill import sparse_prefill

FIELDS = {
    "tokens",
    "ratio",
    "p20",
    "p80",
    "dense_s",
    "sparse_s",
    "rounds",
    "processes",
    "own_dense_ratio",
}
SPEC = ModelSpec("tiny", source="tiny", location="llama")


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture
def plan(model: Any) -> SparsePlan:
    return random_tiny_plan(model, compensator="surrogate")


def test_fields_and_order(model: Any, plan: SparsePlan) -> None:
    times = speed.prefill_times(model, plan, [70, 33], 3, 1, "torch")
    assert [one.tokens for one in times] == [70, 33]
    for one in times:
        for part in (one.prefill, one.ffn):
            metrics = one.metrics(part)
            assert set(metrics) == FIELDS and metrics["rounds"] == 3
            assert metrics["p20"] <= metrics["ratio"] <= metrics["p80"]
            assert metrics["sparse_s"] > 0 and metrics["own_dense_ratio"] > 0


def test_a_warm_up_is_short_and_a_round_is_whole(
    model: Any, plan: SparsePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    monkeypatch.setattr(speed, "WARM_UP_TOKENS", 40)
    hook = model.model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        speed.prefill_times(model, plan, [70], 2, 1, "torch")
    finally:
        hook.remove()
    arms = len(speed.ARMS)
    # hooks are copied with the twins
    assert lengths == [40] * arms + [70] * 2 * arms


def test_the_final_layer_arms_are_timed_if_asked_for(model: Any, plan: SparsePlan) -> None:
    (plain,) = speed.prefill_times(model, plan, [70], 1, 1, "torch")
    assert plain.final_layer() is None and set(plain.prefill) == set(speed.ARMS)
    (times,) = speed.prefill_times(model, plan, [70], 2, 1, "torch", final_layer=True)
    assert set(times.prefill) == {*speed.ARMS, *speed.FINAL_ARMS}
    final = times.final_layer()
    assert final is not None and final["tokens"] == 70
    assert all(final[name] > 0 for name in ("dense_s", "sparse_s", "ratio", "over_whole_dense"))
    assert set(times.metrics(times.prefill)) == FIELDS
    assert "forward" not in model.__dict__


def test_the_compiled_arm_is_timed_if_asked_for(
    model: Any, plan: SparsePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "compiled", partial(baselines.compiled, backend="eager"))
    (times,) = speed.prefill_times(model, plan, [70], 2, 1, "torch", compile_dense=True)
    assert set(times.prefill) == {*speed.ARMS, speed.COMPILED}
    assert len(times.prefill[speed.COMPILED]) == 2 and not times.ffn[speed.COMPILED]
    assert times.baseline_metrics()[speed.COMPILED]["ratio"] > 0
    assert "forward" not in model.__dict__


def test_ffn_is_part_of_the_prefill(model: Any, plan: SparsePlan) -> None:
    times = speed.prefill_times(model, plan, [200], 2, 1, "torch")[0]
    for arm in speed.ARMS:
        rounds = zip(times.ffn[arm], times.prefill[arm], strict=True)
        assert all(0 < ffn < whole for ffn, whole in rounds)


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
    speed.prefill_times(model, plan, [40], 2, 1, "torch", ids)
    assert [call[0] for call in seen] == [True, False, False] * 3
    assert all(call[1:] == ([ids[:40].tolist()], 1, True) for call in seen)


def test_the_twin_runs_sparse_and_the_model_stays_dense() -> None:
    model = tiny_model("qwen3")
    hot_plan = random_tiny_plan(model, compensator="surrogate", hot_fraction=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.arange(90).unsqueeze(0)
    dense = model(ids).logits
    twin = speed.twin_of(model)
    assert all(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    with sparse_prefill(twin, hot_plan, "torch") as usage:
        inside, sparse = model(ids).logits, twin(ids).logits
    assert torch.allclose(inside, dense, atol=1e-4) and usage.density < 1
    assert (sparse - dense).abs().max() > 10 * (inside - dense).abs().max()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_hooks_and_threads_are_restored(model: Any, plan: SparsePlan) -> None:
    before = torch.get_num_threads()
    speed.prefill_times(model, plan, [40], 1, before + 1, "torch")
    assert torch.get_num_threads() == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rounds": 0}, "rounds: expected at least 1, received 0"),
        ({"threads": 0}, "threads: expected at least 1"),
        ({"lengths": [0]}, "tokens: expected at least 1"),
        ({"lengths": [9], "ids": torch.arange(8)}, "expected 9 or more token"),
    ],
)
def test_bad_arguments(model: Any, plan: SparsePlan, change: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"lengths": [20], "rounds": 1, "threads": 1, "backend": "torch"}
    with pytest.raises(ValueError, match=text):
        speed.prefill_times(model, plan, **(arguments | change))


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


def test_our_kernels_dense_are_the_dense_model(model: Any, plan: SparsePlan) -> None:
    ids = torch.arange(90).unsqueeze(0)
    with sparse_prefill(model, speed.always_dense(plan), "torch") as usage:
        logits = model(ids).logits
    torch.testing.assert_close(logits, model(ids).logits, atol=1e-4, rtol=1e-3)
    assert usage.density == 1


def test_processes_measure_apart(plan: SparsePlan, tmp_path: Path) -> None:
    plan.save(tmp_path)
    options = {"lengths": [40, 33], "rounds": 2, "threads": 1, "backend": "torch"}
    runs = speed_processes.measured_in_processes(
        SPEC, tmp_path, processes=1, ids=torch.arange(50), **options
    )
    metrics = speed_processes.speed_metrics(runs)
    assert set(metrics["ffn"]) == FIELDS and [one["tokens"] for one in metrics["ttft"]] == [40, 33]
    with pytest.raises(speed_processes.SpeedError, match="rounds: expected at least 1"):
        speed_processes.measured_in_processes(
            SPEC, tmp_path, processes=1, ids=None, **(options | {"rounds": 0})
        )


def test_a_worker_prints_json(plan: SparsePlan, tmp_path: Path) -> None:
    plan.save(tmp_path)
    request = {
        "model": vars(SPEC),
        "plan": str(tmp_path),
        "lengths": [33],
        "rounds": 1,
        "threads": 1,
        "backend": "torch",
        "ids": None,
    }
    (row,) = json.loads(json.dumps(speed_processes.run_worker(request)))
    assert row["tokens"] == 33 and set(row["ffn"]) == set(speed.ARMS)


def test_a_worker_measures_a_shape_with_random_weights(
    plan: SparsePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = shapes.ModelShape("llama", 64, 160, 9, 9, 4, 2, 16, 259, 10_000.0, True)
    monkeypatch.setitem(shapes.SHAPES, "small", small)
    monkeypatch.setattr(
        speed_processes, "load_model", lambda spec: pytest.fail("no weights are read")
    )
    built = []
    measure = speed_processes.prefill_times

    def noted(model: Any, made: SparsePlan, *rest: Any) -> Any:
        built.append((model, made))
        return measure(model, made, *rest)

    def in_this_process(request: dict[str, Any]) -> list[speed.PrefillTimes]:
        rows = speed_processes.run_worker(json.loads(json.dumps(request)))
        return [speed.PrefillTimes(**row) for row in rows]

    monkeypatch.setattr(speed_processes, "prefill_times", noted)
    monkeypatch.setattr(speed_processes, "in_process", in_this_process)
    (times,) = speed_processes.measured_at_shape(
        "small",
        plan.settings,
        layers=3,
        dtype="float32",
        device="cpu",
        lengths=[70],
        rounds=2,
        threads=1,
        backend="torch",
    )
    assert times.tokens == 70 and len(times.prefill["sparse"]) == 2
    ((model, made),) = built
    assert model.config.num_hidden_layers == len(made.layers) == 3
    assert made.settings == plan.settings


def test_the_bracket_is_between_processes() -> None:
    rows = [
        dict.fromkeys(FIELDS, 1.0) | {"ratio": r, "tokens": 9, "rounds": 3} for r in (1.2, 1.0, 1.5)
    ]
    combined = speed_processes.combined(rows)
    assert (combined["p20"], combined["ratio"], combined["p80"]) == (1.0, 1.2, 1.5)
    assert combined["processes"] == 3 and speed_processes.combined(rows[:1]) == rows[0]
