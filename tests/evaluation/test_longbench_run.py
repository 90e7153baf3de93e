"""task=longbench through the command line on a tiny model: result, protocols, what is shared,
refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from ffbench.cli.main import main
from ffbench.runs.records import parse
from ffbench.runs.schema import RunResult
from ffbench.tasks.longbench import records as longbench_data

TASKS = {"qasper_e": ["a b"], "lcc": ["x = 1"], "passage_count": ["3"]}
TINY = [
    "model=tiny_llama",
    "tracker=none",
    "task=longbench",
    "task.limit=2",
    "task.max_length=400",
    "block_size=32",
    "calibration.tokens=1024",
    "calibration.window=512",
    "fidelity.windows=0",
    "speed.rounds=0",
    "compensator.rank=8",
    "kernel=torch",
    f"task.tasks=[{','.join(TASKS)}]",
]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for task, answers in TASKS.items():
        rows = [
            {
                "_id": f"{i}",
                "dataset": task,
                "input": "Why?",
                "context": f"text {i} " * (20 + 60 * i),
                "answers": answers,
                "all_classes": None,
                "length": 3000 * i,
            }
            for i in range(4)
        ]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def results(folder: Path) -> dict[tuple[str, float], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob("runs/*/result.json")]
    return {(one["protocol"], one["sparsity"]): one for one in found}


def test_both_protocols_share_the_dense_answers(tmp_path: Path, data_dir: Path) -> None:
    out = tmp_path / "out"
    command = [*TINY, f"task.data_dir={data_dir}", f"output_dir={out}"]
    assert main([*command, "sparsity=0,0.5", "hydra.mode=MULTIRUN"]) == 0
    assert main([*command, "sparsity=0.5", "task.protocol=context"]) == 0
    found = results(out)
    assert len(list(out.glob("stages/answers/*"))) == 1
    assert set(found) == {("whole", 0.0), ("whole", 0.5), ("context", 0.5)}
    whole, context = found["whole", 0.5], found["context", 0.5]
    assert whole["data"] == "subset of LongBench and LongBench-E" and whole["chat_template"] is None
    # Random weights answer no better than a guess, so no task is left for the means of scores.
    assert whole["at_chance"] == list(TASKS)
    assert whole["mean"] is whole["category_mean"] is None and whole["categories"] == {}
    assert not any(task["headline"] for task in whole["tasks"].values())
    assert whole["gold"]["n"] == 6 and whole["gold"]["task_mean"]["gold_ppl_ratio"] > 0
    parse(RunResult, whole, "result.json", strict=True)  # what is written is what is read
    assert whole["tasks"]["qasper_e"]["buckets"]["8k+"]["n"] == 1
    assert (
        whole["tasks"]["qasper_e"]["score_dense"]
        == found["whole", 0.0]["tasks"]["qasper_e"]["score"]
    )
    assert whole["tasks"]["lcc"]["truncated"] == 2
    assert whole["tasks"]["lcc"]["density_used"] != context["tasks"]["lcc"]["density_used"]


def test_without_records_the_command_ends_before_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(longbench_data, "reachable", lambda endpoint: False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert main([*TINY, f"output_dir={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert "task.data_dir=" in said and "network" in said and "Traceback" not in said
    assert not (tmp_path / "out" / "runs").exists()


def test_a_bad_record_ends_with_file_line_and_field(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    with (data_dir / "lcc.jsonl").open("a") as file:
        file.write(
            json.dumps(
                {
                    "_id": "x",
                    "dataset": "lcc",
                    "input": "",
                    "context": 3,
                    "answers": ["y"],
                    "length": 1,
                }
            )
            + "\n"
        )
    assert main([*TINY, f"task.data_dir={data_dir}", f"output_dir={tmp_path / 'out'}"]) == 2
    assert "lcc.jsonl line 5: field 'context' must be str, got int" in capsys.readouterr().err


def test_room_for_answers(tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    command = [*TINY, f"task.data_dir={data_dir}", f"output_dir={tmp_path / 'out'}"]
    assert main([*command, "task.max_length=150"]) == 2
    assert (
        "task.max_length (qasper_e): 150 is too small; choose 192 or more"
        in capsys.readouterr().err
    )
    assert main([*command, "task.max_length=9000", "sparsity=0"]) == 2
    assert "the model has 4096 positions" in capsys.readouterr().err
