"""Read run folders into tidy data frames, one kind a function. Fields and units: docs/result-schema.md."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

SCHEMA_VERSION = 1
TASK_FIGURES = ("score", "score_dense", "loss_abs", "loss_abs_low", "loss_abs_high", "loss_rel", "loss_rel_low",
                "loss_rel_high", "nll", "nll_dense", "n")
FIDELITY_FIGURES = ("kl", "kl_low", "kl_high", "top1_agreement", "ppl_ratio", "windows")
NAMES = ("run_key", "model", "dtype", "selector", "compensator", "scheduler", "block_size", "sparsity",
         "hot_fraction", "rank", "group_size", "protocol", "density_used", "task", "recall_at_k", "retained_energy")


class LoadError(ValueError):
    """A run folder cannot be read; the text names the file."""


def read(path: Path) -> dict[str, Any]:
    """One JSON object. Raises LoadError where the file is damaged."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: not readable ({error})") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path}: expected an object")
    return value


def results(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and result of every done run, by key, or of `run_keys` in their order.

    Raises LoadError for a run that is not there, a damaged file, or a schema version that this code does not read.
    """
    folder = Path(output_dir) / "runs"
    names = run_keys if run_keys is not None else sorted(path.parent.name for path in folder.glob("*/result.json"))
    for name in names:
        path = folder / name / "result.json"
        if not path.exists():
            raise LoadError(f"run {name}: no result in {folder}")
        result = read(path)
        if result.get("schema_version") != SCHEMA_VERSION:
            raise LoadError(f"{path}: schema version {result.get('schema_version')}, this code reads {SCHEMA_VERSION}; "
                            "use the ffbench version that wrote it")
        missing = [name for name in ("run_key", "sparsity", "tasks", "fidelity", "speed") if name not in result]
        if missing:
            raise LoadError(f"{path}: missing {', '.join(missing)}")
        yield path.parent, result


def flat(result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One run as one row; a figure that was not measured is None."""
    mean, speed = result.get("mean") or {}, result.get("speed") or {}
    fidelity, flops = (result.get("fidelity") or {}).get("mean") or {}, result.get("flops") or {}
    ffn, ttft = speed.get("ffn") or {}, (speed.get("ttft") or [{}])[0]
    row = {name: result.get(name) for name in NAMES}
    row |= {name: mean.get(name) for name in TASK_FIGURES} | {name: fidelity.get(name) for name in FIDELITY_FIGURES}
    row |= {f"kl_{kind}": ((result.get("fidelity") or {}).get(kind) or {}).get("kl") for kind in ("prose", "code")}
    row |= {"ffn_speedup": ffn.get("ratio"), "ffn_p20": ffn.get("p20"), "ffn_p80": ffn.get("p80")}
    row |= {"ttft_speedup": ttft.get("ratio"), "ttft_p20": ttft.get("p20"), "ttft_p80": ttft.get("p80"),
            "ttft_tokens": ttft.get("tokens")}
    row |= {"flops_ratio": flops.get("ratio"), "threads": speed.get("threads"), "cpu": speed.get("cpu")}
    provenance = folder / "provenance.json"
    known = read(provenance) if provenance.exists() else {}
    return row | {"git_sha": known.get("git_sha"), "started": known.get("started"),
                  "command": " ".join(known.get("command") or [])}


def runs(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a done run."""
    rows = [flat(result, folder) for folder, result in results(output_dir, run_keys)]
    return pd.DataFrame(rows, columns=None if rows else list(NAMES))


def named(result: dict[str, Any]) -> dict[str, Any]:
    """The columns that name a run in the longer frames."""
    return {name: result.get(name) for name in ("run_key", "model", "selector", "compensator", "scheduler",
                                                "block_size", "sparsity")}


def tasks(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and task."""
    return pd.DataFrame([named(result) | {"task": name} | figures
                         for _, result in results(output_dir, run_keys) for name, figures in result["tasks"].items()])


def layers(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and layer."""
    return pd.DataFrame([named(result) | row for _, result in results(output_dir, run_keys)
                         for row in result.get("layers") or []])


def timings(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and prompt length."""
    return pd.DataFrame([named(result) | row for _, result in results(output_dir, run_keys)
                         for row in (result.get("speed") or {}).get("ttft") or []])


def answers(output_dir: str | Path, run_keys: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run and record. Raises LoadError naming the line of a damaged file."""
    rows = []
    for folder, result in results(output_dir, run_keys):
        path = folder / "answers.jsonl"
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
            try:
                rows.append({"run_key": result["run_key"]} | json.loads(line))
            except ValueError as error:
                raise LoadError(f"{path} line {number}: {error}") from error
    return pd.DataFrame(rows)
