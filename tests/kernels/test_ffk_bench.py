"""The benchmark's command line, its correctness gate, its text and its JSON; no assertion on
speed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch._subclasses.fake_tensor import FakeTensorMode

import ffkernels
from ffkernels import native
from ffkernels.bench import cases, machine, options, shapes, timing, variants
from ffkernels.bench.__main__ import main
from ffkernels.native import instruction_sets

FIELDS = (
    "ratio_eager",
    "ratio_compiled",
    "ratio_self",
    "ratio_merged",
    "ideal",
    "gflops",
    "peak_gflops",
    "p20",
    "p80",
    "backend",
    "threads",
    "cpu",
    "instruction_set",
    "torch_instruction_set",
    "block_size",
    "group_size",
    "git_sha",
    "d",
    "f",
    "indices",
    "command",
)
PEAK = timing.peak_gflops  # which every test replaces
SMALL = ["--tokens", "40", "--block-size", "16", "--rounds", "2", "--no-compile"]
TORCH = ["--shape", "smollm2-135m", "--backend", "torch", *SMALL]


@pytest.fixture(autouse=True)
def small_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "smollm2-135m", (64, 256))
    monkeypatch.setattr(timing, "peak_gflops", lambda *_: 100.0)


def result_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["--hot-fraction", "0.5"],
        ["--group-size", "32"],
        ["--sparsity", "0.7"],
        ["--dtype", "bfloat16"],
        ["--dtype", "int8", "--hot-fraction", "0.5"],
        ["--group-size", "16", "--hot-fraction", "0.5"],
    ],
    ids=str,
)
def test_last_line_is_json(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of([*TORCH, *extra], capsys)
    assert all(name in result for name in FIELDS)
    assert result["backend"] == "torch" and result["compiled_skipped"] == "--no-compile"
    assert result["ideal"] == pytest.approx(1 / result["density"], rel=1e-3)
    assert result["p20"] <= result["ratio_eager"] <= result["p80"]
    assert result["relative_error"] <= result["error_allowed"]


def test_text_shows_every_variant_and_the_ideal(capsys: pytest.CaptureFixture[str]) -> None:
    main(TORCH)
    text = capsys.readouterr().out
    assert all(
        word in text
        for word in (
            "torch eager, dense",
            "same backend, dense",
            "torch eager, merged",
            "ideal 2.000",
            "any rows",
        )
    )


def test_lines_are_appended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        result = result_of([*TORCH, "--json", "--output-dir", str(tmp_path / "new")], capsys)
    lines = (tmp_path / "new" / "kernels.jsonl").read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[-1]) == result


def test_compiled_dense_is_timed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "compiled_dense", lambda case: (case.eager, None))
    result = result_of([word for word in TORCH if word != "--no-compile"], capsys)
    assert result["ratio_compiled"] > 0 and result["compiled_skipped"] is None


def record(folder: Path, **changes: str) -> Path:
    """A recorded plan of three layers, f = 256, blocks of 16, groups of 8."""
    folder.mkdir()
    gen = torch.Generator().manual_seed(0)
    tensors = {f"{i}.indices": shapes.index_sets(3, 256, 16 * i, 64, 8, gen) for i in range(3)}
    header = {"d": "64", "f": "256", "block_size": "16", "group_size": "8", "layers": "3"} | changes
    save_file(tensors | {"hot": torch.tensor([0, 16, 32])}, folder / cases.RECORD, header)
    return folder


def test_recorded_sets_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(
        [*TORCH, "--from-plan", str(record(tmp_path / "plan")), "--layers", "2"], capsys
    )
    assert result["layers"] == ["layer 0", "layer 2"] and result["indices"] == "plan"
    assert (result["block_size"], result["group_size"], result["tokens"], result["shape"]) == (
        16,
        8,
        40,
        "smollm2-135m",
    )
    assert result["density"] == pytest.approx((64 + 96) / 2 / 256) and result[
        "hot_fraction"
    ] == pytest.approx(32 / 160)


def test_unusable_records_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main([*TORCH, "--from-plan", str(tmp_path / "empty")]) == 2
    assert "has no indices.safetensors" in capsys.readouterr().err
    assert main([*TORCH, "--from-plan", str(record(tmp_path / "more", layers="9"))]) == 2
    assert "is not a record of index sets" in capsys.readouterr().err
    (record(tmp_path / "text") / cases.RECORD).write_text("no tensors")
    assert main([*TORCH, "--from-plan", str(tmp_path / "text")]) == 2
    assert "record it again" in capsys.readouterr().err


def test_gate_stops_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from ffkernels import gather

    monkeypatch.setattr(native, "refusal", lambda x: None)
    monkeypatch.setattr(native, "sparse", lambda p: gather.sparse(p) * 1.01)
    with pytest.raises(
        SystemExit, match="error: wrong results, nothing was timed: expected a relative error"
    ):
        main(["--shape", "smollm2-135m", "--backend", "native", *SMALL])


def test_every_bad_option_is_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        options.parse(
            ["--sparsity", "1.5", "--block-size", "0", "--backend", "cuda", "--group-size", "7"]
        )
    text = capsys.readouterr().err
    assert stop.value.code == 2
    assert all(
        word in text
        for word in (
            "--sparsity: expected 0 to 1",
            "--block-size: expected at least 1",
            "--backend: expected auto",
            "--group-size: expected a divisor of f = 8192",
        )
    )


@pytest.mark.parametrize("bad", [["--shape", "x"], ["--dtype", "f8"]], ids=str)
def test_unknown_names(bad: list[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(bad)


def test_short_names_of_options_and_dtypes_are_accepted() -> None:
    a = options.parse(["--block", "64", "--group", "8", "--dtype", "bf16"])
    assert (a.block_size, a.group_size, a.dtype) == (64, 8, "bfloat16")


def test_the_dense_call_keeps_every_neuron_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gather's cost would hide in a dense call that gathers."""
    sets = cases.random_sets(
        "smollm2-135m", tokens=40, block_size=16, group_size=1, sparsity=0.5, hot_fraction=0, seed=0
    )
    case, calls = cases.Case(sets, torch.float32, 40), []
    monkeypatch.setattr(
        ffkernels, "dense_gated_ffn", lambda *a, **k: calls.append((a[0].shape, k["backend"]))
    )
    case.own_dense("torch")
    assert calls == [((40, 64), "torch")]


def test_the_merged_baseline_is_the_dense_ffn() -> None:
    sets = cases.random_sets(
        "smollm2-135m", tokens=40, block_size=16, group_size=1, sparsity=0.5, hot_fraction=0, seed=0
    )
    case = cases.Case(sets, torch.float64, 40)
    torch.testing.assert_close(
        cases.dense_merged(case.x, case.merged, case.down),
        cases.dense(case.x, case.gate, case.up, case.down),
    )


def test_committed_lines_have_the_fields_of_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    current_line = pytest.importorskip("ffbench.runs.legacy").current_line
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "kernels.jsonl"
    new = result_of([*TORCH, "--json"], capsys)
    for text in path.read_text().splitlines():
        line = current_line(json.loads(text))
        assert set(line) <= set(new), set(line) - set(new)
        assert line["dtype"] in cases.DTYPES and not line["cpu"].endswith(")")


@pytest.mark.parametrize("name", instruction_sets.INT8_SETS)
def test_int8_lines_name_the_instruction_set(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in instruction_sets.available():
        pytest.skip(f"no {name} here")
    monkeypatch.setenv(instruction_sets.VARIABLE, name)
    result = result_of(["--shape", "smollm2-135m", *SMALL, "--dtype", "int8"], capsys)
    assert (result["backend"], result["instruction_set"]) == ("native", name)
    assert 0 < result["relative_error"] <= result["error_allowed"] < 0.2


def test_the_gate_stops_wrong_int8_results(monkeypatch: pytest.MonkeyPatch) -> None:
    right = native.sparse
    monkeypatch.setattr(native, "refusal", lambda x: None)
    monkeypatch.setattr(native, "sparse", lambda p: right(p) * 1.3)
    with pytest.raises(SystemExit, match="error: wrong results, nothing was timed"):
        main(["--shape", "smollm2-135m", *SMALL, "--dtype", "int8"])


def test_int8_runs_on_the_cpu_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--dtype", "int8", "--backend", "triton"])
    assert "--backend: expected auto, native, torch, reference for" in capsys.readouterr().err


def test_a_processor_has_one_name() -> None:
    assert machine.cpu_name() and "AVX" not in machine.cpu_name()
    facts = machine.facts("cpu")
    assert facts["torch_instruction_set"] == torch.backends.cpu.get_cpu_capability()
    assert facts["cuda"] is None and facts["gpu"] is None


def test_a_machine_without_a_card_has_no_gpu_facts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu_facts() == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_on_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of([*SMALL, "--device", "cuda", "--dtype", "bfloat16"], capsys)
    assert result["backend"] == "triton" and "sparse" in result["graphs"]
    assert result["latency_seconds"]["sparse"] > 0 and result["peak_bytes"]["sparse"] > 0


def test_pages_are_aligned() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        t = torch.randn(5, 7).to(dtype)
        copy = cases.page_aligned(t)
        assert copy.data_ptr() % (2 << 20) == 0 and torch.equal(copy, t) and copy.is_contiguous()


def test_the_peak_of_a_card_is_that_of_a_product_far_longer_than_a_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "once", lambda fn, threads, device: 1.0)
    with FakeTensorMode():
        assert PEAK(torch.bfloat16, 1, "cuda") == 2 * 8192**3 / 1e9


def test_ratios() -> None:
    assert timing.ratios([2.0, 4.0, 6.0], [1.0, 1.0, 1.0]) == (4.0, 2.0, 6.0)


def test_groups_stay_whole() -> None:
    sets = shapes.index_sets(3, 100, 10, 40, 16, torch.Generator())
    assert sets.shape == (3, 32) and bool((sets >= 10).all())
    assert bool((sets.view(3, 2, 16)[..., 0:1] + torch.arange(16) == sets.view(3, 2, 16)).all())
