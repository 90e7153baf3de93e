"""Per-token rules on the command line: what they cannot be combined with, and runs without a
speed."""

import json
from pathlib import Path

import pytest
from tiny_settings import SMALL

from ffbench.cli.main import main

TINY = ["model=tiny_llama", *SMALL, "task=none", "speed.rounds=1"]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ("selector=cats hot_fraction=0.5", "token by token; set hot_fraction=0"),
        ("selector=teal", "use compensator=none"),
        ("selector=cats compensator=rsparse", "compensator=none, bias or a plain"),
        ("selector=wina_rule compensator=none group_size=32", "group_size: 32, but"),
        ("selector=cats blocks=similar", "blocks: 'similar', but"),
        ("selector=cats blocks=sorted", "blocks: 'sorted', but"),
        ("compensator=none blocks=similar", "choose consecutive, or compensator=surrogate"),
        (
            "selector=griffin selector.block=previous blocks=similar",
            "needs blocks in the order of the text",
        ),
    ],
)
def test_refusals(overrides: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["model=tiny_llama", f"output_dir={tmp_path}", *overrides.split()]) == 2
    assert text in capsys.readouterr().err


def test_a_run_of_a_per_token_rule_has_no_speed_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*TINY, "selector=teal", "compensator=none", f"output_dir={tmp_path / 'out'}"]) == 0
    result = json.loads(next(tmp_path.glob("out/runs/*/result.json")).read_text())
    assert (
        result["speed"] is None
        and "token by token" in result["speed_reason"]
        and result["recall_at_k"] is None
    )
    assert result["fidelity"]["prompt"]["kl"] > 0
    overrides = [*TINY, "selector=teal", "compensator=none", f"output_dir={tmp_path / 'out'}"]
    capsys.readouterr()
    assert main(["plan", "save", str(tmp_path / "plan"), *overrides]) == 0
    assert "speed          none: selector teal works token by token" in capsys.readouterr().out
