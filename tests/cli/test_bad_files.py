"""Bad data files, plans, sweep files and environments: exit code 2, file or name and what to do, no
traceback, no model."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from ffbench.cli.main import main

RECORD = {
    "_id": "a1",
    "dataset": "qasper",
    "input": "What?",
    "context": "Some text.",
    "answers": ["This."],
    "length": 2,
    "all_classes": None,
    "language": "en",
}
TREC = RECORD | {"dataset": "trec", "all_classes": ["Food", "Date"], "answers": ["Food"]}


def changed(record: dict[str, Any], **fields: Any) -> str:
    """A record as a line, with other fields; "absent" leaves one out."""
    return json.dumps(
        {name: value for name, value in (record | fields).items() if value != "absent"}
    )


GOOD = json.dumps(RECORD)
DATA = [
    ("qasper", [GOOD, "{not json"], "qasper.jsonl line 2: not JSON"),
    ("qasper", ["", GOOD, "nor this"], "qasper.jsonl line 3: not JSON"),
    ("qasper", ["[1, 2]"], "a JSON object was expected, got list"),
    ("qasper", [GOOD, GOOD], "'_id' 'a1' occurs twice"),
    ("qasper", [changed(RECORD, context="absent")], "field 'context' must be str"),
    ("qasper", [changed(RECORD, _id=7)], "field '_id' must be str, got int"),
    ("qasper", [changed(RECORD, input=None)], "field 'input' must be str"),
    ("qasper", [changed(RECORD, answers="This.")], "field 'answers' must be list"),
    ("qasper", [changed(RECORD, answers=[])], "field 'answers' must hold at least one text"),
    ("qasper", [changed(RECORD, answers=[3])], "field 'answers' must hold at least one text"),
    ("qasper", [changed(RECORD, answers=[" "])], "holds empty text only"),
    ("qasper", [changed(RECORD, length="two")], "field 'length' must be int"),
    ("qasper", [changed(RECORD, dataset="hotpotqa")], "no record has dataset 'qasper'"),
    ("qasper", [], "no record has dataset 'qasper'"),
    ("qasper", [GOOD + "\udcff"], "UTF-8"),
    ("trec", [changed(TREC, all_classes=None)], "'all_classes' must name the classes"),
    ("trec", [changed(TREC, all_classes="Food, Date")], "field 'all_classes'"),
    ("hotpotqa", None, "for task 'hotpotqa'"),
    ("qasper", [GOOD[:-1] + ', "answers": ["Other."]}'], "the name 'answers' occurs twice"),
    ("qasper", ["[" * 100_000], "line 1: not JSON (its brackets are nested too deeply)"),
    ("qasper", [GOOD[:-1] + ', "x": ' + "9" * 5000 + "}"], "line 1: not JSON (Exceeds the limit"),
    ("qasper", [GOOD.replace('"length": 2', '"length": NaN')], "'length' must be int, got float"),
    ("qasper", [GOOD.replace('"length": 2', '"length": true')], "'length' must be int, got bool"),
    ("qasper", [GOOD + "\0"], "line 1: not JSON"),
    ("qasper", [GOOD + ","], "line 1: not JSON"),
    ("qasper", [GOOD, "\ufeff" + GOOD], "line 2: not JSON"),
    ("qasper", [f"[{GOOD}]"], "a JSON object was expected, got list"),
    ("qasper", [GOOD.replace(", ", ",\n")], "line 1: not JSON"),
    ("qasper", [changed(RECORD, answers=[["a"]])], "only text"),
    ("qasper", [changed(RECORD, _id="")], "field '_id' is empty"),
    ("trec", [changed(TREC, all_classes="__import__('os')")], "field 'all_classes'"),
    ("trec", [changed(TREC, all_classes="[" * 5000)], "field 'all_classes'"),
]


def refused(
    words: list[str], text: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line ends with code 2 in under 5 seconds, says `text`, and loads no model."""

    def loads(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("ffbench.experiment.session.load_model", loads)
    begin = time.perf_counter()
    code = main(words)
    seconds, errors = time.perf_counter() - begin, capsys.readouterr().err
    assert code == 2, errors
    assert text in errors and errors.startswith("error: ") and "Traceback" not in errors, errors
    assert seconds < 5


@pytest.mark.parametrize(("task", "lines", "text"), DATA, ids=[text for _, _, text in DATA])
def test_bad_records(
    task: str,
    lines: list[str] | None,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if lines is not None:
        (data / f"{task}.jsonl").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    refused(
        [
            "model=tiny_llama",
            "task=longbench",
            f"task.tasks=[{task}]",
            f"task.data_dir={data}",
            f"output_dir={tmp_path / 'out'}",
        ],
        text,
        capsys,
        monkeypatch,
    )
    assert not (tmp_path / "out" / "runs").exists()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound plan of the tiny model."""
    folder = tmp_path_factory.mktemp("plans")
    assert (
        main(
            [
                "plan",
                "save",
                str(folder / "plan"),
                "model=tiny_llama",
                "block_size=32",
                "calibration.tokens=1024",
                "calibration.window=512",
                "compensator.rank=8",
                f"output_dir={folder / 'out'}",
            ]
        )
        == 0
    )
    return folder / "plan"


def header_of(folder: Path) -> Path:
    return next(folder.glob("*.json"))


def tensors_of(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the plan's JSON."""

    def edit(folder: Path) -> None:
        header = json.loads(header_of(folder).read_text())
        change(header)
        header_of(folder).write_text(json.dumps(header))

    return edit


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(tensors_of(folder))
    tensors.pop("0.order")
    save_file(tensors, tensors_of(folder))


PLANS: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no header": lambda folder: header_of(folder).unlink(),
    "no tensors": lambda folder: tensors_of(folder).unlink(),
    "header cut short": lambda folder: header_of(folder).write_text(
        header_of(folder).read_text()[:40]
    ),
    "header is a list": lambda folder: header_of(folder).write_text("[]"),
    "tensors cut short": lambda folder: tensors_of(folder).write_bytes(
        tensors_of(folder).read_bytes()[:100]
    ),
    "tensors empty": lambda folder: tensors_of(folder).write_bytes(b""),
    "a tensor is missing": without_a_tensor,
    "other version": edited(lambda header: header.update(format_version=99)),
    "settings missing": edited(lambda header: header.pop("settings")),
    "layers missing": edited(lambda header: header.pop("layers")),
    "a setting missing": edited(lambda header: header["settings"].pop("block_size")),
    "made for another model": edited(lambda header: header.update(fingerprint={"model": "0" * 16})),
}


def with_tensor(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change one tensor of the plan."""

    def edit(folder: Path) -> None:
        tensors = load_file(tensors_of(folder))
        tensors[name] = change(tensors[name])
        save_file(tensors, tensors_of(folder))

    return edit


def of_layer(**values: Any) -> Callable[[Path], None]:
    """Change fields of the first layer."""
    return edited(lambda header: header["layers"][0].update(values))


def of_settings(**values: Any) -> Callable[[Path], None]:
    """Change settings of the plan."""
    return edited(lambda header: header["settings"].update(values))


PLANS |= {
    "header nested": lambda folder: header_of(folder).write_text("[" * 100_000),
    "header in UTF-16": lambda folder: header_of(folder).write_bytes("{}".encode("utf-16-be")[1:]),
    "no layers": edited(lambda header: header.update(layers=[])),
    "layers are numbers": edited(lambda header: header.update(layers=[1, 2])),
    "settings are a list": edited(lambda header: header.update(settings=[])),
    "axes are a list": edited(lambda header: header.update(axes=[])),
    "fingerprint is a list": edited(lambda header: header.update(fingerprint=["a"])),
    "version is a list": edited(lambda header: header.update(format_version=[4])),
    "kept is infinite": of_layer(kept=float("inf")),
    "kept is NaN": of_layer(kept=float("nan")),
    "kept is text": of_layer(kept="many"),
    "kept is huge": of_layer(kept=10**20),
    "block of 0": of_settings(block_size=0),
    "block is text": of_settings(block_size="32"),
    "sparsity 7": of_settings(sparsity=7),
    "sparsity is NaN": of_settings(sparsity=float("nan")),
    "blocks unknown": of_settings(blocks="x"),
    "a later setting": of_settings(later=1),
    "selector is text": of_settings(selector="trained"),
    "rank is NaN": of_settings(compensator={"name": "surrogate", "rank": float("nan")}),
    "order of floats": with_tensor("0.order", lambda order: order.float()),
    "order with two axes": with_tensor("0.order", lambda order: order[None]),
    "order repeats": with_tensor("0.order", lambda order: order * 0),
    "weights of integers": with_tensor("0.predictor.weights", lambda weights: weights.int()),
    "values that are not numbers": with_tensor("0.predictor.prior", lambda prior: prior / 0 * 0),
}


@pytest.mark.parametrize("name", PLANS)
def test_bad_plans(
    name: str,
    plan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capsys.readouterr()
    folder = tmp_path / "broken_plan"
    shutil.copytree(plan, folder)
    PLANS[name](folder)
    refused(
        ["plan", "load", str(folder), "model=tiny_llama", f"output_dir={tmp_path}"],
        str(folder),
        capsys,
        monkeypatch,
    )


SWEEP = (
    "method: grid\ncommand: ['${env}', '${interpreter}', -m, ffbench, '${args_no_hyphens}']\n"
    "parameters: {sparsity: {values: [0.3]}}\n"
)
SWEEPS = {
    "not YAML": ("a: [", "is not YAML"),
    "a list": ("- 1", "is not a sweep file"),
    "empty": ("", "is not a sweep file"),
    "bayes": (SWEEP.replace("grid", "bayes"), "metric is missing"),
    "no method": (SWEEP.replace("method: grid\n", ""), "choose one of grid, random"),
    "no arguments": (SWEEP.replace(", '${args_no_hyphens}'", ""), "args_no_hyphens"),
    "unknown setting": (SWEEP.replace("sparsity", "sparsty"), "did you mean 'sparsity'"),
    "value out of range": (SWEEP.replace("0.3", "1.3"), "sparsity: 1.3"),
    "range in a grid": (
        SWEEP.replace("values: [0.3]", "min: 0, max: 1"),
        "a grid needs value or values",
    ),
    "no UTF-8": (SWEEP + "# größe", "is not UTF-8 text"),
    "nested": ("[" * 3000, "is not YAML"),
    "command holds a number": (SWEEP.replace("-m,", "3,"), "command holds 3, which is no text"),
    "a parameter is a number": (SWEEP.replace("sparsity", "3"), "parameters.3: not a setting"),
    "keys of two types": (
        SWEEP.replace("values: [0.3]", "1: 2, a: 3"),
        "parameters.sparsity: unknown key '1'",
    ),
    "a date": (SWEEP.replace("0.3", "2024-01-01"), "has no spelling as an override"),
    "not a number": (SWEEP.replace("0.3", ".nan"), "sparsity: nan is not a finite number"),
    "a launcher among the parameters": (
        SWEEP.replace("sparsity: {values: [0.3]}", "launcher: {values: [local, joblib]}"),
        "parameters.launcher: not a setting of a run",
    ),
}


DRAWS = [
    ("values: [0.1, 0.2], probabilities: 5", "probabilities must be 2 numbers"),
    ("values: [0.1, 0.2], probabilities: [a, b]", "probabilities must be 2 numbers"),
    ("values: [0.1, 0.2], probabilities: [-1, 2]", "at least 0 that sum to 1"),
    ("distribution: q_uniform, min: 0.1, max: 0.5, q: 0", "q is 0; give a number above 0"),
    ("distribution: q_uniform, min: 0.1, max: 0.5, q: x", "q is 'x'"),
    ("distribution: normal, mu: a", "normal needs numbers, not mu='a'"),
    ("min: .nan, max: 0.5", "needs numbers min < max"),
    ("min: 0.1, max: .inf", "needs numbers min < max"),
]
SWEEPS |= {
    spec: (SWEEP.replace("grid", "random").replace("values: [0.3]", spec), text)
    for spec, text in DRAWS
}


@pytest.mark.parametrize("name", SWEEPS)
def test_bad_sweep_files(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(SWEEPS[name][0].encode("latin-1"))
    refused(
        ["sweep", str(path), "--local", "model=tiny_llama", f"output_dir={tmp_path / 'out'}"],
        SWEEPS[name][1],
        capsys,
        monkeypatch,
    )


ENVIRONMENTS = [
    ({"WANDB_MODE": "sometimes"}, [], "WANDB_MODE is 'sometimes'"),
    ({"WANDB_BASE_URL": "nowhere", "WANDB_API_KEY": "k" * 40}, [], "WANDB_BASE_URL is 'nowhere'"),
    ({"WANDB_SWEEP_ID": "x"}, ["+sweep=sparsity"], "one job"),
    ({"WANDB_SWEEP_ID": "x"}, ["seed=1,2"], "these overrides make 2"),
    ({"PATH": ""}, ["launcher=slurm"], "launcher: slurm needs sbatch"),
    ({}, ["output_dir=/proc/ffbench"], "output_dir"),
    ({}, ["output_dir=/dev/null/x"], "output_dir"),
    ({}, ["model=folder", "model.name=x", "model.location=/dev/null"], "model"),
]


@pytest.mark.parametrize(
    ("variables", "words", "text"), ENVIRONMENTS, ids=[text for _, _, text in ENVIRONMENTS]
)
def test_bad_environments(
    variables: dict[str, str],
    words: list[str],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if words == ["launcher=slurm"]:
        pytest.importorskip("submitit")
    more = (
        []
        if any(word.startswith("output_dir") for word in words)
        else [f"output_dir={tmp_path / 'out'}"]
    )
    first = [] if any(word.startswith("model") for word in words) else ["model=tiny_llama"]
    refused([*first, "task=none", *words, *more], text, capsys, monkeypatch)


def test_sync_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    refused(["sync", "--output-dir", str(tmp_path)], "WANDB_API_KEY", capsys, monkeypatch)
