"""Tables that are printed from declarations."""

from pathlib import Path

from ffanalysis.bench_columns import FRAMES
from ffbench.experiment.declarations import DECLARATIONS
from ffbench.runs import legacy
from tools.docs import fields, stages

ROOT = Path(__file__).parents[2]


def test_types_are_in_words() -> None:
    text = fields.result(ROOT)
    assert "| `run_key` | text, required |" in text
    assert "| `objective` | Objective or null |" in text
    assert "| `ttft` | list of SpeedRatio |" in text
    assert "| `tasks` | text -> TaskFields |" in text
    assert "It has the fields of LossFields too." in text and text.count("`loss_rel_low`") == 1


def test_every_old_name_is_listed() -> None:
    text = fields.renamed(ROOT)
    assert all(f"`{old}`" in text for names in legacy.RENAMED.values() for old in names)
    assert "`output_map_rank=104`" in text


def test_every_frame_and_column_is_listed() -> None:
    text = fields.frames(ROOT)
    for name, columns in FRAMES.items():
        assert f"## {name}" in text and all(f"| `{title}` |" in text for title in columns)
    assert text.count("| `calibration_text` |") == 1  # columns that name a run are listed once


def test_every_declared_stage_is_listed() -> None:
    text = stages.table(ROOT)
    for name, stage in DECLARATIONS.items():
        assert f"| `{name}` | {stage.version} | {stage.makes} |" in text
