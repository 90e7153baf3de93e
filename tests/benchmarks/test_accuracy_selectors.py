"""The baselines benchmark on a tiny model: its lines, what it skips, and that it resumes."""

import json
from pathlib import Path

import accuracy_selectors
import pytest

TINY = [
    "model=tiny_llama",
    "scheduler=uniform",
    "block_size=16",
    "first_dense=16",
    "last_dense=16",
    "fidelity.contexts=[256]",
    "fidelity.windows=2",
    "fidelity.tail=63",
    "calibration.tokens=2048",
    "calibration.window=512",
]


def test_lines_at_equal_flops_that_are_made_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lines.jsonl"
    arguments = [
        *TINY,
        f"output_dir={tmp_path / 'outputs'}",
        "selector=static,teal",
        "compensator=none,bias",
        f"--out={out}",
        "--flops=0.6",
    ]
    assert accuracy_selectors.main(arguments) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["selector"], line["compensator"]) for line in lines] == [
        ("static", "none"),
        ("static", "bias"),
        ("teal", "none"),
    ]
    assert "skipped teal bias uniform: " in capsys.readouterr().out
    for line in lines:
        tails = line["fidelity"]["tails"]
        assert set(tails) == {"continuation", "copy"} and tails["copy"]["n"] >= 2
        assert tails["copy"]["kl_low"] <= tails["copy"]["kl"] <= tails["copy"]["kl_worst"]
        assert "git_sha" in line and line["threads"] and line["command"].startswith("python bench")
        tolerance = 0.1 if line["per_token"] else 0.005  # thresholds keep about the share asked for
        assert line["fidelity"]["flops_used"] == pytest.approx(0.6, abs=tolerance)
    before = out.read_text()
    assert accuracy_selectors.main(arguments) == 0
    assert out.read_text() == before and "3 plans, 0 to measure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--flops=1.5"], "error: --flops: 1.5 is not between 0 and 1"),
        (["selector=trianed"], "error: selector: 'trianed' is unknown"),
        ([*TINY, "selector=static", "compensator=none", "fidelity.windows=0"], "fidelity.windows"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lines.jsonl"
    assert accuracy_selectors.main([*arguments, f"--out={out}"]) == 2
    printed = capsys.readouterr().err
    assert error in printed and printed.count("\n") == 1 and not out.exists()
