"""task=ruler and a task of a user's own YAML through the command line on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_settings import TINY

from ffbench.cli.compose import jobs_of
from ffbench.cli.main import main
from ffbench.experiment.stages import run_key
from ffbench.runs.records import parse
from ffbench.runs.schema import RunResult

RULER = [*TINY, "task=ruler", "task.limit=1", "fidelity.windows=0"]
DEFINITION = """
name: tickets
tasks: [tickets]
json_lines:
  tickets:
    context: "{text}\\n"
    question: "Which floor?"
    gold: floor
    metric: string_match_part
    max_new_tokens: 4
max_length: 256
"""


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in out.glob("runs/*/result.json")]


def test_lengths_are_swept_with_paired_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["task.max_length=700,900", "task.tasks=[niah_single_1]", f"output_dir={tmp_path}"]
    assert main([*RULER, *words]) == 0
    found = {round(r["tasks"]["niah_single_1"]["prompt_tokens"], -2): r for r in results(tmp_path)}
    assert len(found) == 2
    for result in found.values():
        parse(RunResult, result, "result.json", strict=True)
        task = result["tasks"]["niah_single_1"]
        assert result["data"] == "RULER's tasks, generated here" and task["n"] == 1
        assert task["truncated"] == 0 and task["density_used"] < 1
        assert task["metric"] == "string_match_all" and task["gold_ppl_ratio"] > 0
    for path in tmp_path.glob("runs/*/answers.jsonl"):
        (answer,) = map(json.loads, path.read_text().splitlines())
        assert answer["prompt_tail"].endswith("mentioned in the provided text is")
    capsys.readouterr()
    assert main(["report", "--by", "length", "--output-dir", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert rows[0][1] == "max_length" and [row[1] for row in rows[2:]] == ["700", "900"]
    assert all("niah_single_1" in row for row in rows[2:])


def test_a_length_beyond_the_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*RULER, "task.max_length=400000", f"output_dir={tmp_path}"]) == 2
    assert "task.max_length: 400000 tokens, but the model has" in capsys.readouterr().err
    assert not list(tmp_path.glob("stages/*"))


@pytest.mark.parametrize("change", ["task.seed=1", "task.max_length=5000", "task.limit=2"])
def test_what_is_generated_is_part_of_the_key(change: str) -> None:
    words = ["model=tiny_llama", "task=ruler", "task.limit=1"]
    (before,), (after,) = jobs_of(words), jobs_of([*words, change])
    assert run_key(before.settings) == run_key(jobs_of(words)[0].settings)
    assert run_key(before.settings) != run_key(after.settings)


@pytest.fixture
def defined(tmp_path: Path) -> list[str]:
    """Words that choose a task of a folder of the user's own."""
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "tickets.yaml").write_text(DEFINITION)
    rows = [{"text": f"Floor {number} is cold.", "floor": number} for number in range(3)]
    (tmp_path / "tickets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["--config-dir", str(tmp_path), "task=tickets", f"task.data_dir={tmp_path}"]


def test_a_yaml_alone_makes_a_task(defined: list[str], tmp_path: Path) -> None:
    assert main([*TINY, *defined, "fidelity.windows=0", f"output_dir={tmp_path / 'out'}"]) == 0
    (result,) = results(tmp_path / "out")
    assert result["tasks"]["tickets"]["n"] == 3 and result["data"] is None
    assert result["tasks"]["tickets"]["metric"] == "string_match_part"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("task.json_lines.tickets.metric=F1", "'F1' is unknown; did you mean 'f1'? Valid: exact_"),
        ("task.json_lines.tickets.metrc=f1", "metrc: no such key; did you mean 'metric'?"),
        ("task.json_lines.tickets.gold=flor", "line 1: field 'flor' must be a gold answer"),
        ("task.tasks=[]", "task.tasks: empty; name the tasks that are run, of tickets"),
        ("task.tasks=[tikets]", "did you mean 'tickets'?"),
    ],
)
def test_a_bad_definition_ends_before_work(
    word: str, text: str, defined: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*TINY, *defined, word, f"output_dir={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert text in said and "Traceback" not in said
    assert not (tmp_path / "out" / "runs").exists()


def test_another_metric_is_another_run(defined: list[str]) -> None:
    words = [word.replace("--config-dir", "") for word in defined[2:]]
    search = f"hydra.searchpath=[file://{defined[1]}]"
    keys = {
        run_key(jobs_of(["model=tiny_llama", search, *words, f"{name}={value}"])[0].settings)
        for name, value in (
            ("task.json_lines.tickets.metric", "f1"),
            ("task.json_lines.tickets.metric", "exact_match"),
            ("task.json_lines.tickets.question", "Where?"),
        )
    }
    assert len(keys) == 3
