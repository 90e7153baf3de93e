"""Parts of a prefill: they add up, and the arms are the three that take turns."""

import json
from pathlib import Path

import prefill_profile
import pytest
from tiny_settings import TINY

from ffbench.cli.main import main


def test_parts_of_every_arm_add_up(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan", tmp_path / "lines.jsonl"
    words = [*TINY, f"output_dir={tmp_path}"]
    assert main(["plan", "save", str(plan), *words]) == 0
    given = [f"plan={plan}", *words, "--tokens", "96", "--rounds", "2", "--out", str(out)]
    assert prefill_profile.main(given) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["arm"] for line in lines] == ["dense", "own_dense", "sparse"]
    for line in lines:
        parts = dict(line["seconds"])
        total = parts.pop("total")
        assert set(parts) > {"FFN", "projections", "norms", "output head"}
        assert all(value > 0 for name, value in parts.items() if name != "the rest")
        # medians of two rounds are means, so that they add up as the rounds do
        assert sum(parts.values()) == pytest.approx(total, rel=1e-6)
        assert line["tokens"] == 96 and line["rounds"] == 2


def test_a_plan_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        prefill_profile.main(["model=tiny_llama"])
    assert end.value.code == 2 and "plan=FOLDER" in capsys.readouterr().err
