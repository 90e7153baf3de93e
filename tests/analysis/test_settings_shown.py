"""Tables: which settings are shown with the rows, and which stand above."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ffanalysis import load, report, seeds, settings
from ffanalysis.source import Source

OBJECTIVE = {"continuation": 0.5, "copy": 0.5, "full": 0.0}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((6, 22, 25), ["block_size"]),
        ((6, 26), ["group_size"]),
        ((6, 32), ["seed"]),
        ((6, 8), ["compensator.output_map_rank", "compensator.tune_steps"]),
        ((16, 17), ["selector.block"]),
        ((6, 7), ["selector"]),
        ((1, 6), ["sparsity"]),
        ((1, 2, 6), ["sparsity"]),
        ((6,), []),
    ],
)
def test_the_settings_that_differ_are_columns_and_the_others_stand_above(
    keys: tuple[int, ...], expected: list[str], recorded: Path
) -> None:
    source = Source(recorded, run_keys=[f"{key:016x}" for key in keys])
    assert settings.differing(source.runs()) == expected
    above, _, table = report.report(source, by="seed").partition("\n\n")
    head = table.splitlines()[0]
    for name in expected:
        assert settings.title(name).split(".")[-1] in head
        # a method that differs may still have parameters that its rows share
        assert name == "selector" or f"{settings.title(name)} " not in above
    if "block_size" not in expected:
        assert "block 128" in above and "| block |" not in head
    assert "compensator surrogate (rank 128" in above and "protocol whole" in above


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"metric": "auto"}, {"metric": "output"}, ["objective.metric"]),
        ({"windows": 16}, {"windows": 4}, ["objective.windows"]),
        # older results name neither; they had 16 windows and the metric of outputs
        ({}, {"windows": 4}, ["objective.windows"]),
        ({}, {"metric": "auto"}, ["objective.metric"]),
        ({}, {"windows": 16, "metric": "output"}, []),
    ],
)
def test_what_differs_between_objectives_is_shown(
    first: dict, second: dict, expected: list[str], change: Callable, copied: Path
) -> None:
    for number, objective in ((6, first), (8, second)):
        change(number, objective=OBJECTIVE | objective, parameters={})
    source = Source(copied, run_keys=[f"{key:016x}" for key in (6, 8)])
    assert settings.differing(source.runs()) == expected
    above, _, table = report.report(source).partition("\n\n")
    head = [text.strip() for text in table.splitlines()[0].split("|")]
    for name in expected:
        assert name.split(".")[1] in head and f"{name.split('.')[1]} " not in above
    assert ("windows 16" in above) == ("objective.windows" not in expected)
    page = report.render(source, "html")
    assert all(f">{name.split('.')[1]}<" in page for name in expected)


@pytest.mark.parametrize(
    ("name", "values"),
    [("location", ("a/model", "b/model")), ("revision", ("main", "v2")), ("file", ("x", "y"))],
)
def test_models_of_one_name_are_told_apart(
    name: str, values: tuple[str, str], change: Callable, copied: Path
) -> None:
    for number, value in zip((6, 32), values, strict=True):  # two seeds of one setting
        path = copied / "runs" / f"{number:016x}" / "config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"model": config["model"] | {name: value}}))
    frame = load.runs(copied, [f"{key:016x}" for key in (6, 32)])
    assert settings.differing(frame) == [f"model.{name}", "seed"]
    assert len(seeds.collapsed(frame)) == 2


def test_a_branch_of_the_hub_is_shown_by_its_commits(copied: Path) -> None:
    keys = [f"{key:016x}" for key in (6, 32)]
    for number, key in enumerate(keys):
        folder = copied / "runs" / key
        config = json.loads((folder / "config.json").read_text())
        config["model"]["revision"] = "main"
        (folder / "config.json").write_text(json.dumps(config))
        provenance = json.loads((folder / "provenance.json").read_text())
        provenance["model_revision"] = f"{number}" * 40
        (folder / "provenance.json").write_text(json.dumps(provenance))
    frame = load.runs(copied, keys)
    assert list(frame["model.revision"]) == ["0" * 40, "1" * 40]
    assert settings.differing(frame) == ["model.revision", "seed"]
