"""`python -m ffbench speed` on the tiny models and a small shape; no assertion on speed."""

import json
import os
from pathlib import Path

import pytest
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.cli import preflight, speed
from ffbench.cli.main import main
from ffbench.methods.plan import SparsePlan
from ffbench.models import shapes
from ffbench.models.tiny import tiny_config

TINY = [
    "model=tiny_llama",
    "block_size=16",
    "first_dense=16",
    "last_dense=16",
    "compensator.rank=8",
    "speed.rounds=1",
    "kernel=torch",
    "kernel.threads=1",
]
FIELDS = {
    "shape",
    "weights",
    "plan",
    "dtype",
    "layers",
    "selector",
    "compensator",
    "parameters",
    "device",
    "scheduler",
    "sparsity",
    "block_size",
    "blocks",
    "group_size",
    "hot_fraction",
    "rounds",
    "threads",
    "backend",
    "ffn",
    "ttft",
    "final_layer",
    "break_even_tokens",
    "flops_ratio",
    "cuda",
    "gpu",
    "peak_bytes",
    "baselines",
    "load_before",
    "load_after",
    "busy",
    "clock_mhz",
    "cpu",
    "torch",
    "instruction_set",
    "git_sha",
    "command",
}


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "speed.jsonl").read_text().splitlines()]


def test_a_line_per_job_is_printed_and_appended(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*TINY, "speed.lengths=[70,40]", "sparsity=0.3,0.5", f"output_dir={tmp_path}"]
    assert main(["speed", *overrides, "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == lines(tmp_path) and [one["sparsity"] for one in printed] == [0.3, 0.5]
    assert set(printed[0]) == FIELDS
    assert (printed[0]["shape"], printed[0]["weights"], printed[0]["plan"]) == (
        "tiny_llama",
        "random",
        "random",
    )
    assert [one["tokens"] for one in printed[0]["ttft"]] == [70, 40] and printed[0][
        "backend"
    ] == "torch"
    monkeypatch.setattr(os, "getloadavg", lambda: (3.5, 0.0, 0.0))
    assert main(["speed", *overrides[:-2], f"output_dir={tmp_path}"]) == 0
    text = capsys.readouterr().out
    assert "TTFT speedup" in text and "break-even" in text and len(lines(tmp_path)) == 3
    assert "other work ran on this machine" in text and lines(tmp_path)[-1]["busy"] is True


@pytest.mark.parametrize("form", [["shape=small"], ["--shape", "small"]], ids=str)
def test_shapes_have_random_weights(
    form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        shapes.SHAPES, "small", shapes.ModelShape("qwen2", 64, 160, 9, 2, 4, 2, 16, 300, 1e6, True)
    )
    overrides = [*TINY[1:], "model.dtype=bfloat16", "speed.lengths=[50]", f"output_dir={tmp_path}"]
    assert main(["speed", *form, *overrides]) == 0
    line = lines(tmp_path)[0]
    assert (line["shape"], line["weights"], line["dtype"], line["layers"]) == (
        "small",
        "random",
        "bfloat16",
        2,
    )


@pytest.mark.parametrize(("least", "expected"), [(40, 40), (None, 71)])
def test_a_plan_learns_its_break_even_length(
    least: int | None,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    import torch

    from ffbench.evaluation import speed as stage
    from ffbench.models.sparse_prefill import sparse_prefill

    folder = tmp_path / "plan"
    fast = ["calibration.tokens=256", "calibration.window=128", f"output_dir={tmp_path}"]
    assert main(["plan", "save", str(folder), *TINY[:5], *fast]) == 0
    monkeypatch.setattr(stage, "break_even", lambda rows: least)
    assert main(["speed", f"plan={folder}", *TINY, *fast, "speed.lengths=[70,40]"]) == 0
    assert f"runs prompts below {expected} tokens dense" in capsys.readouterr().out
    plan = SparsePlan.load(folder)
    assert plan.min_tokens == expected and lines(tmp_path)[0]["plan"] == "plan"
    model = tiny_model()
    for tokens in (expected - 1, expected):
        with sparse_prefill(model, plan, "torch") as prefill, torch.no_grad():
            model(torch.arange(tokens).unsqueeze(0))
        assert (prefill.density == 1) == (tokens < expected)


def test_short_prompts_say_that_they_run_dense(caplog: pytest.LogCaptureFixture) -> None:
    import torch

    from ffbench.models.sparse_prefill import sparse_prefill

    model = tiny_model()
    plan = random_tiny_plan(model, selector="static")
    plan.min_tokens = 100
    ids = torch.arange(80).unsqueeze(0)
    with torch.no_grad():
        dense = model(ids).logits
        with sparse_prefill(model, plan, "torch") as prefill:
            assert torch.allclose(model(ids).logits, dense, atol=1e-4)
            model(ids)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "a prompt of 80 tokens runs dense: this plan pays off from 100 tokens (measured)"
    ]
    assert prefill.density == 1


def test_everything_wrong_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert (
        main(
            [
                "speed",
                "shape=llama-9b",
                f"plan={tmp_path}",
                "sparsity=1.5",
                "speed.rounds=0",
                "speed.lengths=[0]",
                "selector=cats",
            ]
        )
        == 2
    )
    text = capsys.readouterr().err
    assert all(
        word in text
        for word in (
            "shape: 'llama-9b' is unknown",
            "plan: a saved plan belongs to its model",
            "sparsity: 1.5",
            "speed.rounds: 0",
            "speed.lengths: 0",
            "selector: 'cats' works token by token",
        )
    )


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["sparsity=0"], "sparsity: 0 is the dense model"),
        (["speed.length=[5]"], "speed.length: no such setting"),
        (["model=tiny_llama", "plan={}/none"], "cannot be read"),
    ],
)
def test_refusals(
    overrides: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["speed", *(word.replace("{}", str(tmp_path)) for word in overrides)]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fetched_config", "load_model"])
def test_a_model_that_cannot_be_loaded_names_its_shape(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    from ffbench.models import loading

    def unreachable(spec: loading.ModelSpec) -> None:
        raise loading.ModelError("model: 'meta-llama/Llama-3.2-1B-Instruct' could not be loaded")

    preflight.hub_config.cache_clear()
    monkeypatch.setattr("ffbench.experiment.identity.commit_of", lambda location, revision: None)
    monkeypatch.setattr(loading, "fetched_config", lambda spec: tiny_config("llama"))
    monkeypatch.setattr(loading, name, unreachable)
    assert main(["speed", "model=llama32_1b", f"output_dir={tmp_path}"]) == 2
    assert "shape=llama3.2-1b in place of model=" in capsys.readouterr().err
    preflight.hub_config.cache_clear()


def test_overrides_are_split() -> None:
    overrides = speed.parse(["--json", "shape=a", "sparsity=0.5", "--plan", "p"])
    assert overrides == speed.Request("a", Path("p"), ["sparsity=0.5"], True)
