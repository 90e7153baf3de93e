"""Frames from benchmark lines: names, origin, figures."""

import json
import re
from pathlib import Path

import pytest

from ffanalysis import benches, load
from ffanalysis.source import Source

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "results"


def test_published_lines_are_shown_only_when_asked_for(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "speed.jsonl").write_text((recorded / "speed.jsonl").read_text())
    own = Source(tmp_path).frame("speeds")
    assert len(own) == 10 and own["origin"].isna().all()
    assert Source(tmp_path).frame("kernels").empty
    both = Source(tmp_path, published=PUBLISHED).frame("speeds")
    assert len(both) > 10 and (both["origin"] == "published").sum() == len(both) - 10
    assert Source(tmp_path, published=tmp_path).frame("speeds")["origin"].isna().all()


def test_old_lines_have_todays_names(recorded: Path) -> None:
    kernels, speeds = benches.kernels(recorded), benches.speeds(recorded)
    assert set(kernels["dtype"]) == {"bfloat16", "float32"} and "block" not in kernels
    assert set(speeds["block_size"]) == {128} and set(speeds["compensator.rank"]) == {128}
    published = benches.kernels(PUBLISHED)
    assert set(published["cpu"]) == {"Intel(R) Xeon(R) Processor"}
    assert set(published["instruction_set"].dropna()) == {"avx512"}


def test_kernel_lines_get_their_intensity(recorded: Path, tmp_path: Path) -> None:
    frame = benches.kernels(recorded)
    row = frame[
        (frame["shape"] == "llama3.2-1b")
        & (frame["dtype"] == "bfloat16")
        & (frame["block_size"] == 128)
    ].iloc[0]
    flops, moved = 6 * 2048 * 2048 * 8192 * 0.5, 2 * (16 * 3 * 2048 * 4096 + 2 * 2048 * 2048)
    assert row["intensity"] == pytest.approx(flops / moved)
    line = {"dtype": "int8", "d": 64, "f": 128, "tokens": 32, "block_size": 16, "density": 0.5}
    moved = 2 * 3 * 64 * 64 + 4 * 2 * 32 * 64  # bytes: int8 weights, float32 inputs and outputs
    assert benches.intensity(line) == pytest.approx(6 * 32 * 64 * 64 / moved)
    (tmp_path / "kernels.jsonl").write_text('{"ratio_eager": 1.5}\n')
    with pytest.raises(load.LoadError, match=r"kernels.jsonl line 1: missing ideal, gflops"):
        benches.kernels(tmp_path)


def test_the_last_selector_line_counts(recorded: Path, tmp_path: Path) -> None:
    lines = (recorded / "selectors.jsonl").read_text().splitlines()
    again = json.loads(lines[0])
    again["fidelity"]["prompt"]["kl"] = 9.0
    (tmp_path / "selectors.jsonl").write_text("\n".join([*lines, json.dumps(again)]) + "\n")
    frame = benches.selections(tmp_path)
    assert (
        len(frame) == len(lines)
        and frame.loc[frame["selector"] == again["selector"], "kl_prompt"].item() == 9.0
    )


def test_a_load_is_a_row_with_both_servers_times(copied: Path) -> None:
    frame = benches.servings(copied)
    assert len(frame) == 8 and frame["round"].tolist() == [0.0] * 4 + [1.0] * 4
    row = frame.iloc[2]
    assert row["input_tokens"] == 2048 and row["rate"] == 0.25 and row["threads"] == 2
    assert row["ttft_p50_s_dense"] == pytest.approx(3.072) and row["density"] == 0.55
    assert row["ttft_p50_speedup"] == pytest.approx(1 / 0.8)
    assert row["tpot_p50_s_dense"] == pytest.approx(0.045)
    assert row["tpot_p50_speedup"] == pytest.approx(0.8)
    assert row["throughput_ratio"] == pytest.approx(1 / 0.8)
    assert row["server_options"] == "--dtype float32"
    assert row["server_environment"] == "VLLM_CPU_KVCACHE_SPACE=1"
    path = copied / "serve.jsonl"
    path.write_text(re.sub(r'"tpot_p\d+_s": [^,]+, ', "", path.read_text()))  # as older lines are
    frame = benches.servings(copied)
    assert frame["tpot_p50_s"].isna().all() and frame["ttft_p50_speedup"].notna().all()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:6]))  # a bench that was ended: two loads lack the sparse server
    assert benches.servings(copied)["input_tokens"].tolist() == [1024, 1024]
    path.write_text("".join(lines[4:]))  # no dense server before the first sparse one
    assert benches.servings(copied)["round"].tolist() == [1.0] * 4
