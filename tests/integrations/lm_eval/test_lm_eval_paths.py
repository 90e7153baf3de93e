"""lm-eval and FFBench's own loop give the same prompts, answers and scores; the task files are
those of the tasks."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager
from small_plans import small_settings

from ffbench.evaluation.answers import Protocol, evaluate
from ffbench.evaluation.prompts import prompt_ids
from ffbench.integrations.lm_eval import TASK_FOLDER, register, task_files
from ffbench.integrations.lm_eval.model import FFBenchLM
from ffbench.integrations.lm_eval.records import PREFIX
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.random_models import random_plan
from ffbench.runs.answers import AnswerLog
from ffbench.tasks.registry import get_spec

TASKS = ("qasper", "trec", "samsum_e", "lcc", "passage_retrieval_zh")
GOLD = {"passage_retrieval_zh": "段落3", "trec": "Food"}
LENGTH = 900


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("records")
    for task in TASKS:
        rows = [
            {
                "_id": f"{task}{i}",
                "dataset": task,
                "input": "Who?",
                "context": f"a word {i}\n" * (5 + 40 * i),
                "answers": [GOLD.get(task, "word 1")],
                "all_classes": ["Food", "City"],
                "length": i,
            }
            for i in range(5)
        ]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


@pytest.fixture(scope="module")
def plan_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = load_model(ModelSpec("tiny", "tiny", "llama"))[0]
    folder = tmp_path_factory.mktemp("plan")
    random_plan(model, small_settings(64)).save(folder)
    return folder


def by_lm_eval(model: FFBenchLM, data_dir: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answers and scores by (task, record), and means by task."""
    manager = TaskManager(
        include_path=str(TASK_FOLDER),
        include_defaults=False,
        metadata={"data_dir": data_dir, "limit": 3},
    )
    found = simple_evaluate(
        model=model,
        tasks=[PREFIX + task for task in TASKS],
        task_manager=manager,
        bootstrap_iters=0,
    )
    samples = {
        (one["doc"]["task"], one["doc"]["record_id"]): (one["resps"][0][0], one["score"])
        for rows in found["samples"].values()
        for one in rows
    }
    return samples, {task: found["results"][PREFIX + task]["score,none"] for task in TASKS}


@pytest.mark.parametrize(("protocol", "batch_size"), [("whole", 1), ("context", 2)])
def test_both_paths_agree(
    model_folder: Path,
    plan_folder: Path,
    data_dir: str,
    tmp_path: Path,
    protocol: str,
    batch_size: int,
) -> None:
    model = FFBenchLM(
        pretrained=str(model_folder),
        plan=str(plan_folder),
        protocol=protocol,
        device="cpu",
        dtype="float32",
        max_length=LENGTH,
        batch_size=batch_size,
        backend="torch",
    )
    samples, means = by_lm_eval(model, data_dir)
    work = [(get_spec(task), get_spec(task).records(3, data_dir)) for task in TASKS]
    ours = evaluate(
        model.model,
        model.tokenizer,
        model.plan,
        work,
        AnswerLog(tmp_path / "a.jsonl"),
        Protocol(LENGTH, batch_size, protocol, "torch"),
    )
    assert samples == {
        (one["task"], one["record_id"]): (one["prediction"], one["score"]) for one in ours
    }
    assert any(one["tokens_cut"] for one in ours) and any(one["density"] < 1 for one in ours)
    for spec, records in work:
        scores = [one["score"] for one in ours if one["task"] == spec.name]
        assert means[spec.name] == pytest.approx(sum(scores) / len(records))


def test_prompts_are_the_same(model_folder: Path, data_dir: str) -> None:
    model = FFBenchLM(
        pretrained=str(model_folder), device="cpu", dtype="float32", max_length=LENGTH
    )
    manager = TaskManager(
        include_path=str(TASK_FOLDER), include_defaults=False, metadata={"data_dir": data_dir}
    )
    for task in TASKS:
        one = manager.load([PREFIX + task])["tasks"][PREFIX + task]
        one.build_all_requests(
            limit=2,
            apply_chat_template=True,
            chat_template=model.apply_chat_template,
            tokenizer_name="x",
            rank=0,
            world_size=1,
        )
        spec = get_spec(task)
        for record, request in zip(spec.records(None, data_dir), one.instances, strict=False):
            asked = model.asked(0, request)
            assert asked.prompt == prompt_ids(model.tokenizer, spec, record, LENGTH)
            assert asked.prompt.ids.count(model.tokenizer.bos_token_id) == 1
            assert ("[user]" in model.tokenizer.decode(asked.prompt.ids)) == spec.chat


def test_task_files_are_those_of_the_tasks() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in TASK_FOLDER.glob("*.yaml")}
    assert there == task_files.files(), "run python -m ffbench.integrations.lm_eval.task_files"
    manager = TaskManager(include_path=str(TASK_FOLDER), include_defaults=False)
    assert len(manager.all_subtasks) == 34 and manager.all_groups == [
        "ffbench_longbench",
        "ffbench_longbench_e",
    ]


def test_the_long_context_tasks_that_lm_eval_ships_are_found_beside_ours() -> None:
    found = TaskManager(include_path=str(TASK_FOLDER)).all_tasks
    shipped = {"ruler", "ruler_vt", "niah_multikey_1", "longbench", "longbench2", "infinitebench"}
    assert {*shipped, "ffbench_longbench", f"{PREFIX}qasper"} <= set(found)


def test_the_model_is_known_to_lm_eval() -> None:
    register()
    register()
    assert get_model("ffbench") is FFBenchLM
