"""Read run folders into tidy data frames, one kind a function. Columns and units: docs/frames.md.

Folders copied from another machine read as they are. A frame of no runs is empty and has all its
columns.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis.answer_files import answer_rows, answers_path
from ffanalysis.frames import LoadError, checked, from_rows
from ffanalysis.schema import METHOD, SCHEMA_VERSION, SPEED

__all__ = ["LoadError", "answers", "groups", "layers", "runs", "tasks", "timings"]
NEEDED = ("run_key", "sparsity", "tasks", "fidelity", "speed")
LOSSES = (
    "n",
    "score",
    "score_dense",
    "loss_abs",
    "loss_abs_low",
    "loss_abs_high",
    "loss_rel",
    "loss_rel_low",
    "loss_rel_high",
    "nll",
    "nll_dense",
    "nll_gain_abs",
    "nll_gain_abs_low",
    "nll_gain_abs_high",
    "nll_gain_rel",
    "nll_gain_rel_low",
    "nll_gain_rel_high",
)
FIDELITY = ("kl", "kl_low", "kl_high", "top1_agreement", "ppl_ratio", "windows")
NO_RUNS = "no done runs in {}; start some with: python -m ffbench +sweep=sparsity (about 12 minutes on 2 cores)"


def read(path: Path) -> dict[str, Any]:
    """One JSON object. Raises LoadError where the file is damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: not readable ({error})") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path}: expected an object")
    return value


def results(
    output_dir: str | Path, run_keys: Sequence[str] | None = None
) -> list[tuple[Path, dict[str, Any]]]:
    """Folder and result of every done run, by key, or of `run_keys` in their order.

    Raises LoadError for a run that is not there, a damaged file, or schema versions that this code
    does not read.
    """
    folder = Path(output_dir) / "runs"
    names = (
        run_keys
        if run_keys is not None
        else sorted(path.parent.name for path in folder.glob("*/result.json"))
    )
    missing = [name for name in names if not (folder / name / "result.json").exists()]
    if missing:
        raise LoadError(
            f"no result in {folder} for: {', '.join(missing)}; `python -m ffbench status` lists the runs"
        )
    found = [(folder / name, read(folder / name / "result.json")) for name in names]
    refuse_versions(folder, found)
    for path, result in found:
        lacking = [name for name in NEEDED if name not in result]
        if lacking:
            raise LoadError(f"{path / 'result.json'}: missing {', '.join(lacking)}")
    return found


def refuse_versions(folder: Path, found: list[tuple[Path, dict[str, Any]]]) -> None:
    """Raise LoadError where runs have another schema version: mixed figures are never shown beside
    each other.
    """
    other = [
        (path.name, result.get("schema_version"))
        for path, result in found
        if result.get("schema_version") != SCHEMA_VERSION
    ]
    if other:
        counts = ", ".join(
            f"{count} of version {version}"
            for version, count in Counter(version for _, version in other).items()
        )
        raise LoadError(
            f"{folder}: {counts} (first: {other[0][0]}); schema version {SCHEMA_VERSION} is read here. "
            "Read those with the ffbench that wrote them, or make them again: name only the others, "
            "or move them away"
        )


def named(result: dict[str, Any]) -> dict[str, Any]:
    """The columns that name a run in every frame. Older results have what was the only choice
    then.
    """
    row = {name: result.get(name) for name in METHOD}
    if row["block_size"] is not None:
        for name, only in (("blocks", "consecutive"), ("calibration_text", "embedded")):
            row[name] = only if row[name] is None else row[name]
    return row


def speed_row(speed: dict[str, Any] | None, prefix: str) -> dict[str, Any]:
    """Speed figures under names of the frame `runs`."""
    known = speed or {}
    return {f"{prefix}_speedup": known.get("ratio")} | {
        f"{prefix}_{name}": known.get(name) for name in ("p20", "p80", "dense_s", "tokens")
    }


def nll_gains(figures: dict[str, Any]) -> dict[str, float]:
    """The gold answer's change in NLL where a result of before has only both NLLs; no interval
    then.
    """
    nll, dense = figures.get("nll"), figures.get("nll_dense")
    if nll is None or not dense or figures.get("nll_gain_abs") is not None:
        return {}
    return {"nll_gain_abs": nll - dense, "nll_gain_rel": (nll - dense) / dense}


def flat(result: dict[str, Any], folder: Path, commands: dict[str, str]) -> dict[str, Any]:
    """One run as one row; a figure that was not measured is None."""
    mean, speed, flops = (result.get(name) or {} for name in ("mean", "speed", "flops"))
    texts = result.get("fidelity") or {}
    fidelity = texts.get("mean") or {}
    row = named(result) | {
        name: result.get(name)
        for name in ("task", "density_used", "recall_at_k", "retained_energy")
    }
    row |= {name: mean.get(name) for name in LOSSES} | {
        name: fidelity.get(name) for name in FIDELITY
    }
    row |= nll_gains(mean) | {"per_token": bool(result.get("speed_reason"))}
    row |= {f"kl_{kind}": (texts.get(kind) or {}).get("kl") for kind in ("prose", "code")}
    row |= speed_row(speed.get("ffn"), "ffn") | speed_row((speed.get("ttft") or [None])[0], "ttft")
    row |= {
        "flops_ratio": flops.get("ratio"),
        "flops_selector": flops.get("selector"),
        "flops_compensator": flops.get("compensator"),
        "seconds": sum(value for value in (result.get("cost") or {}).values() if value is not None),
    }
    timed = {name: speed[name] for name in ("threads", "cpu") if speed.get(name) is not None}
    return row | origin(folder, commands) | timed


def origin(folder: Path, commands: dict[str, str]) -> dict[str, Any]:
    """Machine, commit, start and command of a run; None where its provenance was not copied with
    it.
    """
    path = folder / "provenance.json"
    known = read(path) if path.exists() else {}
    command = shlex.join(known.get("command") or []) or None
    return {
        "threads": (known.get("threads") or {}).get("torch"),
        "cpu": known.get("cpu"),
        "git_sha": known.get("git_sha"),
        "git_dirty": known.get("git_dirty"),
        "started": known.get("started"),
        "command": commands.get(folder.name, command),
    }


def job_commands(output_dir: str | Path) -> dict[str, str]:
    """Run key -> command that makes that run alone, from the sweep lists."""
    found: dict[str, str] = {}
    for path in sorted((Path(output_dir) / "sweeps").glob("*.json")):
        for job in read(path).get("jobs") or []:
            found.setdefault(
                job["run_key"], shlex.join(["python", "-m", "ffbench", *job["overrides"]])
            )
    return found


def runs(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a done run."""
    commands = job_commands(output_dir)
    return from_rows(
        "runs",
        [flat(result, folder, commands) for folder, result in results(output_dir, run_keys)],
        output_dir,
    )


def tasks(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and task."""
    return from_rows(
        "tasks",
        [
            named(result) | figures | nll_gains(figures) | {"task": name}
            for _, result in results(output_dir, run_keys)
            for name, figures in (result["tasks"] or {}).items()
        ],
        output_dir,
    )


def groups(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and category of tasks, or length bucket."""
    rows = [
        named(result) | {"kind": kind} | row
        for _, result in results(output_dir, run_keys)
        for kind, field in (("category", "categories"), ("bucket", "buckets"))
        for row in group_rows(result.get(field) or {})
    ]
    return from_rows("groups", rows, output_dir)


def group_rows(value: dict[str, Any], task: str = "") -> Iterator[dict[str, Any]]:
    """Rows of {group: figures}, or of {task: {group: figures}}."""
    for name, inner in value.items():
        if not isinstance(inner, dict):
            continue
        if "score" in inner:
            yield inner | {"task": task, "group": name}
        else:
            yield from group_rows(inner, name)


def layers(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and layer."""
    return from_rows(
        "layers",
        [
            named(result) | row
            for _, result in results(output_dir, run_keys)
            for row in result.get("layers") or []
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


def timings(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and prompt length. The dense FFN time at a length is in proportion to that
    measured at one.
    """
    rows = []
    for _, result in results(output_dir, run_keys):
        speed, ratio = result.get("speed") or {}, (result.get("flops") or {}).get("ratio")
        ffn = speed.get("ffn") or {}
        for one in speed.get("ttft") or []:
            share = (
                ffn["dense_s"] / ffn["tokens"] * one["tokens"] / one["dense_s"]
                if ffn.get("dense_s")
                else None
            )
            rows.append(
                named(result)
                | {name: one.get(name) for name in SPEED}
                | {
                    "flops_ratio": ratio,
                    "ideal": ideal_speedup(share, ratio),
                    "threads": speed.get("threads"),
                    "cpu": speed.get("cpu"),
                }
            )
    return from_rows("timings", rows, output_dir)


def answers(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and record; a dense run's come from the shared stage. LoadError names a damaged
    line.
    """
    columns: dict[str, list[Any]] = {"run_key": []}
    for folder, result in results(output_dir, run_keys):
        rows = answer_rows(answers_path(Path(output_dir), folder, result))
        count, titles = len(columns["run_key"]), {title: None for row in rows for title in row}
        columns["run_key"] += [result["run_key"]] * len(rows)
        for title in titles.keys() - columns.keys():
            columns[title] = [None] * count
        for title in columns.keys() - {"run_key"}:
            columns[title] += (
                [row.get(title) for row in rows] if title in titles else [None] * len(rows)
            )
    return checked("answers", columns, len(columns["run_key"]), output_dir)
