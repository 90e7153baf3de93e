"""The benchmark's command line, its correctness gate and its JSON; no assertion on speed."""

import json

import pytest
from ffkernels import bench, shapes, timing

FIELDS = ("ratio_eager", "ratio_compiled", "ratio_self", "ideal", "gflops", "peak_gflops", "p20", "p80", "backend",
          "threads", "cpu")
SMALL = ["--tokens", "40", "--block", "16", "--rounds", "2", "--no-compile"]


@pytest.fixture(autouse=True)
def small_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "smollm2-135m", (64, 256))


@pytest.mark.parametrize("extra", [[], ["--hot-fraction", "0.5"], ["--group", "32"], ["--sparsity", "0.7"],
                                   ["--dtype", "bf16"]], ids=str)
def test_last_line_is_json(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--shape", "smollm2-135m", "--backend", "torch", *SMALL, *extra])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(name in result for name in FIELDS)
    assert result["backend"] == "torch" and result["compiled_skipped"] == "--no-compile"
    assert result["ideal"] == pytest.approx(1 / result["density"], rel=1e-3)
    assert result["p20"] <= result["ratio_eager"] <= result["p80"]


def test_gate_stops_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from ffkernels import torch_backend

    right, calls = torch_backend.sparse, []

    def second_call_is_wrong(p):
        calls.append(p)
        return right(p) * (1 if len(calls) == 1 else 1.01)

    monkeypatch.setattr(torch_backend, "sparse", second_call_is_wrong)
    with pytest.raises(SystemExit, match="correctness gate: expected an error"):
        bench.main(["--shape", "smollm2-135m", "--backend", "torch", *SMALL])


@pytest.mark.parametrize("bad", [["--sparsity", "1.5"], ["--block", "0"], ["--shape", "x"], ["--dtype", "f8"]], ids=str)
def test_bad_command_line(bad: list[str]) -> None:
    with pytest.raises(SystemExit):
        bench.parse(bad)


def test_ratios() -> None:
    assert timing.ratios([2.0, 4.0, 6.0], [1.0, 1.0, 1.0]) == (4.0, 2.0, 6.0)


def test_groups_stay_whole() -> None:
    import torch

    sets = shapes.index_sets(3, 100, 10, 40, 16, torch.Generator())
    assert sets.shape == (3, 32) and bool((sets >= 10).all())
    assert bool((sets.view(3, 2, 16)[..., 0:1] + torch.arange(16) == sets.view(3, 2, 16)).all())
