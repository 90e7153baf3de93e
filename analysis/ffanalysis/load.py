"""Read run folders into tidy data frames, one function per kind. Columns and units: docs/frames.md.

Folders copied from another machine can be read as they are. A frame of no runs is empty and has all
its columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis import settings
from ffanalysis.answer_files import answer_rows, answers_path
from ffanalysis.columns import METHOD, RUN_FRAMES
from ffanalysis.frames import LoadError, checked, from_rows
from ffanalysis.run_folders import (
    NO_RUNS,
    job_commands,
    read_config,
    read_json,
    read_optional,
    results,
)
from ffanalysis.run_rows import losses, named, run_row
from ffbench.runs.schema import FidelityFields, RunResult, TailFidelity
from ffbench.runs.score_fields import LossFields, TaskFields

__all__ = [
    "NO_RUNS",
    "LoadError",
    "answers",
    "fidelity",
    "groups",
    "layers",
    "read_json",
    "results",
    "runs",
    "tasks",
    "timings",
    "windows",
]
Keys = Sequence[str] | None


def runs(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per finished run. Settings that no result field has and that differ between the runs
    follow by their dotted names in config.json.
    """
    commands = job_commands(output_dir)
    rows, configs = [], []
    for folder, result in results(output_dir, run_keys):
        config = read_config(folder, result)
        rows.append(run_row(result, folder, commands) | text_part(result, config))
        configs.append(config)
    extra = settings.config_columns(configs)
    return from_rows(
        "runs", [row | more for row, more in zip(rows, extra, strict=True)], output_dir
    )


def text_part(result: RunResult, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the text that KL was measured on; older results leave it to the settings."""
    if result.fidelity is None:
        return {}
    part = result.fidelity.part or (config.get("fidelity") or {}).get("part")
    return {"text_part": part}


def tasks(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run and task."""
    return from_rows(
        "tasks",
        [
            named(result) | task_values(fields) | {"task": name}
            for _, result in results(output_dir, run_keys)
            for name, fields in result.tasks.items()
        ],
        output_dir,
    )


def task_values(fields: TaskFields) -> dict[str, Any]:
    """Columns of one task."""
    names = RUN_FRAMES["tasks"].keys() - METHOD.keys()
    own = {name: getattr(fields, name) for name in names if hasattr(fields, name)}
    return own | losses(fields)


def groups(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run and category or length bucket; `task` is empty for means of tasks."""
    rows = []
    for _, result in results(output_dir, run_keys):
        for kind, task, values in group_parts(result):
            rows += [
                named(result) | {"kind": kind, "task": task, "group": name} | losses(fields)
                for name, fields in (values or {}).items()
                if fields is not None
            ]
    return from_rows("groups", rows, output_dir)


def group_parts(
    result: RunResult,
) -> Iterator[tuple[str, str, Mapping[str, LossFields | None] | None]]:
    """Kind, task and losses by name of every group in a result."""
    yield "category", "", result.categories
    yield "bucket", "", result.buckets
    for name, task in result.tasks.items():
        yield "bucket", name, task.buckets


def fidelity(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run, tail and text, and per run, tail and context length."""
    rows = []
    for _, result in results(output_dir, run_keys):
        fields = result.fidelity or FidelityFields()
        parts: list[tuple[dict[str, Any], Mapping[str, TailFidelity]]] = [({}, fields.tails)]
        parts += [({"text": text}, tails) for text, tails in fields.by_text.items()]
        parts += [({"context": int(name)}, tails) for name, tails in fields.by_context.items()]
        rows += [
            named(result) | where | {"tail": tail} | asdict(value)
            for where, tails in parts
            for tail, value in tails.items()
        ]
    return from_rows("fidelity", rows, output_dir)


def windows(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run, held-out window and tail."""
    return from_rows(
        "windows",
        [
            named(result) | asdict(row)
            for _, result in results(output_dir, run_keys)
            for row in (result.fidelity.rows if result.fidelity else [])
        ],
        output_dir,
    )


def layers(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run and layer."""
    return from_rows(
        "layers",
        [
            named(result) | asdict(layer)
            for _, result in results(output_dir, run_keys)
            for layer in result.layers or []
        ],
        output_dir,
    )


def ideal_speedup(ffn_share: float | None, flops_ratio: float | None) -> float | None:
    """TTFT speedup if the FFNs, `ffn_share` of the dense time, took just their share of the dense
    FLOPs (Amdahl).
    """
    if ffn_share is None or flops_ratio is None:
        return None
    return 1 / (1 - min(ffn_share, 1) * (1 - flops_ratio))


def timings(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run and prompt length. The dense FFN time is measured at one length; at others it
    is taken in proportion.
    """
    rows = []
    for folder, result in results(output_dir, run_keys):
        speed = result.speed
        if speed is None or not speed.ttft:
            continue
        ratio, ffn = result.flops.ratio if result.flops else None, speed.ffn
        machine = {
            name: getattr(speed, name) for name in ("threads", "cpu", "instruction_set", "backend")
        } | {"gpu": read_optional(folder / "provenance.json").get("gpu")}
        for ttft in speed.ttft:
            share = None
            if ffn and ffn.dense_s and ttft.dense_s:
                share = ffn.dense_s / ffn.tokens * ttft.tokens / ttft.dense_s
            rows.append(
                named(result)
                | asdict(ttft)
                | {"flops_ratio": ratio, "ideal": ideal_speedup(share, ratio)}
                | machine
            )
    return from_rows("timings", rows, output_dir)


def answers(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run and record; a dense run's come from the shared stage.

    Raises:
        LoadError: a line is damaged; the text names it.

    """
    columns: dict[str, list[Any]] = {"run_key": []}
    for folder, result in results(output_dir, run_keys):
        rows = answer_rows(answers_path(Path(output_dir), folder, result))
        count, titles = len(columns["run_key"]), {title: None for row in rows for title in row}
        columns["run_key"] += [result.run_key] * len(rows)
        for title in titles.keys() - columns.keys():
            columns[title] = [None] * count
        for title in columns.keys() - {"run_key"}:
            columns[title] += [row.get(title) for row in rows]
    return checked("answers", columns, len(columns["run_key"]), output_dir)
