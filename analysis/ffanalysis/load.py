"""Read run folders into tidy data frames, one function per kind. Columns and units: docs/frames.md.

Folders copied from another machine can be read as they are. A frame of no runs is empty and has all
its columns.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis import settings
from ffanalysis.answer_files import answer_rows, answers_path
from ffanalysis.columns import METHOD, TAIL_VALUES
from ffanalysis.frames import LoadError, checked, from_rows
from ffanalysis.run_folders import (
    NO_RUNS,
    job_commands,
    read_config,
    read_json,
    read_optional,
    results,
)
from ffbench.runs.legacy import processor
from ffbench.runs.schema import (
    FidelityFields,
    LossFields,
    PromptFidelity,
    RunResult,
    SpeedRatio,
    TailFidelity,
)

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


def named(result: RunResult) -> dict[str, Any]:
    """The columns that name a run in every frame, and its methods' parameters by dotted name."""
    return {name: getattr(result, name) for name in METHOD} | settings.parameter_columns(result)


def losses(fields: LossFields | None) -> dict[str, Any]:
    """Loss columns. A result of before has both NLLs but not their difference; no interval then."""
    if fields is None:
        return {}
    row = asdict(fields)
    nll, dense = fields.nll, fields.nll_dense
    if fields.nll_increase_abs is None and nll is not None and dense:
        row |= {"nll_increase_abs": nll - dense, "nll_increase_rel": (nll - dense) / dense}
    return row


def tail_values(tail: str, value: TailFidelity | PromptFidelity) -> dict[str, Any]:
    """Fidelity of one tail, or of the prompt, under names of the frame `runs`."""
    known = asdict(value)
    row = {f"windows_{tail}": known.get("n"), f"ppl_ratio_{tail}": known.get("ppl_ratio")}
    for field, short in TAIL_VALUES.items():
        row |= {
            f"{short}_{tail}{end}": known[field + end]
            for end in ("", "_low", "_high", "_worst")
            if field + end in known
        }
    return {name: number for name, number in row.items() if number is not None}


def fidelity_values(fields: FidelityFields | None) -> dict[str, Any]:
    """Fidelity columns of the frame `runs`."""
    if fields is None:
        return {}
    row: dict[str, Any] = {"flops_used": fields.flops_used}
    for tail, value in fields.tails.items():
        row |= tail_values(tail, value)
    return row | (tail_values("prompt", fields.prompt) if fields.prompt else {})


def speed_values(prefix: str, ratio: SpeedRatio | None) -> dict[str, Any]:
    """One speedup under names of the frame `runs`."""
    if ratio is None:
        return {}
    names = ("p20", "p80", "dense_s", "tokens", "processes")
    return {f"{prefix}_speedup": ratio.ratio} | {
        f"{prefix}_{name}": getattr(ratio, name) for name in names
    }


def run_row(result: RunResult, folder: Path, commands: Mapping[str, str]) -> dict[str, Any]:
    """One run as one row; what was not measured is missing."""
    row = named(result) | losses(result.mean) | fidelity_values(result.fidelity)
    row |= {
        "density_used": result.density_used,
        "recall_at_k": result.recall_at_k,
        "retained_energy": result.retained_energy,
        "per_token": bool(result.speed_reason),
        "seconds": sum(value for value in result.cost.values() if value is not None),
    }
    if result.flops:
        row |= {
            f"flops_{name}": getattr(result.flops, name)
            for name in ("ratio", "selector", "compensator")
        }
    row |= origin(folder, commands)
    speed = result.speed
    if speed:
        row |= speed_values("ffn", speed.ffn)
        row |= speed_values("ttft", speed.ttft[0] if speed.ttft else None)
        names = ("threads", "cpu", "instruction_set", "backend", "busy")
        row |= {name: getattr(speed, name) for name in names if getattr(speed, name) is not None}
    return row


def origin(folder: Path, commands: Mapping[str, str]) -> dict[str, Any]:
    """Machine, commit, start and command of a run; missing if its provenance was not copied."""
    known = read_optional(folder / "provenance.json")
    command = shlex.join(known.get("command") or []) or None
    return {
        "threads": (known.get("threads") or {}).get("torch"),
        "cpu": processor(known.get("cpu")),
        "instruction_set": known.get("instruction_set"),
        "git_sha": known.get("git_sha"),
        "git_dirty": known.get("git_dirty"),
        "started": known.get("started"),
        "command": commands.get(folder.name, command),
    }


def runs(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per finished run. Settings that no result field has and that differ between the runs
    follow by their dotted names in config.json.
    """
    commands, found = job_commands(output_dir), results(output_dir, run_keys)
    configs = [read_config(folder, result) for folder, result in found]
    extra = settings.config_columns(configs)
    return from_rows(
        "runs",
        [
            run_row(result, folder, commands) | more
            for (folder, result), more in zip(found, extra, strict=True)
        ],
        output_dir,
    )


def tasks(output_dir: str | Path, run_keys: Keys = None) -> pd.DataFrame:
    """One row per run and task."""
    return from_rows(
        "tasks",
        [
            named(result) | losses(fields) | {"task": name}
            for _, result in results(output_dir, run_keys)
            for name, fields in result.tasks.items()
        ],
        output_dir,
    ).drop(columns="buckets", errors="ignore")


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
    for _, result in results(output_dir, run_keys):
        speed = result.speed
        ratio = result.flops.ratio if result.flops else None
        for ttft in speed.ttft if speed else []:
            assert speed is not None
            share, ffn = None, speed.ffn
            if ffn and ffn.dense_s and ttft.dense_s:
                share = ffn.dense_s / ffn.tokens * ttft.tokens / ttft.dense_s
            machine = {
                name: getattr(speed, name)
                for name in ("threads", "cpu", "instruction_set", "backend")
            }
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
