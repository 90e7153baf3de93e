"""Copy the finished runs of a W&B project into run folders, which everything else here reads.

python -m ffanalysis.wandb_source ENTITY/PROJECT --to from_wandb
python -m ffbench report --output-dir from_wandb

Needs the public API and a key (`wandb login`, or WANDB_API_KEY). What W&B never got stays out:
stages, plans, sweep lists.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ffanalysis.frames import LoadError
from ffanalysis.schema import SCHEMA_VERSION

RUN_KEY = re.compile(r"[0-9a-f]{16}")
TABLES = ("tasks", "layers", "ttft", "answers")
NAMED = ("selector", "compensator", "scheduler")
UNMEASURED = (
    "block_size",
    "blocks",
    "calibration_text",
    "hot_fraction",
    "rank",
    "group_size",
    "fidelity",
    "density_used",
    "recall_at_k",
    "retained_energy",
    "flops",
    "mean",
    "categories",
    "buckets",
)


def project_runs(project: str) -> Iterable[Any]:
    """The finished runs of ENTITY/PROJECT by the public API. Raises LoadError where W&B is missing
    or refuses.
    """
    try:
        import wandb
    except ImportError as error:
        raise LoadError(f"{error}; install it with: pip install 'ffbench[tracking]'") from error
    try:
        return list(wandb.Api().runs(project, filters={"state": "finished"}))
    except (wandb.errors.Error, ValueError) as error:
        raise LoadError(
            f"W&B project {project}: {error}; log in with `wandb login`, or set WANDB_API_KEY"
        ) from error


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"a/b": 1}` as `{"a": {"b": 1}}`; the opposite of what the tracker does."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        place = out
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                inner = place[parent] = {}
            place = inner
        if not (isinstance(place.get(last), dict) and not isinstance(value, dict)):
            place[last] = value
    return out


def table_rows(run: Any, entry: Any) -> list[dict[str, Any]]:
    """Rows of a table that the run logged: its file is fetched; none where `entry` is no table."""
    path = entry.get("path") if isinstance(entry, dict) else None
    if not path:
        return []
    with (
        tempfile.TemporaryDirectory() as folder,
        run.file(path).download(root=folder, replace=True) as file,
    ):
        table = json.load(file)
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def measured(value: Any) -> Any:
    """A mapping, or None where it is empty or holds nothing."""
    return value or None


def result_of(
    key: str, config: dict[str, Any], summary: dict[str, Any], tables: dict[str, list]
) -> dict[str, Any]:
    """A result.json from what the tracker sent: numbers of the summary, names of the configuration,
    lists of tables.
    """
    found = nested({name: value for name, value in summary.items() if name not in TABLES})
    dense = not config["sparsity"]
    names = {name: "dense" if dense else config[name]["name"] for name in NAMED}
    result = dict.fromkeys(UNMEASURED) | {
        name: measured(found.get(name)) if isinstance(found.get(name), dict) else found.get(name)
        for name in UNMEASURED
    }
    speed = found.get("speed")
    if speed:
        speed = speed | {"ttft": tables["ttft"], "cpu": (found.get("provenance") or {}).get("cpu")}
    return (
        result
        | names
        | {
            "schema_version": int(found.get("schema_version", SCHEMA_VERSION)),
            "run_key": key,
            "model": config["model"]["name"],
            "dtype": config["model"]["dtype"],
            "sparsity": float(config["sparsity"]),
            "task": config["task"]["name"],
            "protocol": config["task"].get("protocol"),
            "speed": measured(speed),
            "layers": measured(tables["layers"]),
            "tasks": {
                row["task"]: {name: value for name, value in row.items() if name != "task"}
                for row in tables["tasks"]
            },
            "cost": found.get("cost") or {},
        }
    )


def provenance_of(summary: dict[str, Any]) -> dict[str, Any]:
    """provenance.json as far as W&B has it; the command's words were joined by blanks."""
    found = nested(summary).get("provenance") or {}
    return found | {"command": str(found.get("command") or "").split(), "read_from": "W&B"}


def write_run(run: Any, target: Path) -> str | None:
    """Write one run's folder; returns its key, None for a run that ffbench did not make."""
    config, summary = dict(run.config).get("cfg"), dict(run.summary)
    key = str(run.name)
    if not isinstance(config, dict) or "sparsity" not in config or not RUN_KEY.fullmatch(key):
        return None
    tables = {name: table_rows(run, summary.get(name)) for name in TABLES}
    folder = target / "runs" / key
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": config,
        "provenance.json": provenance_of(summary),
        "result.json": result_of(key, config, summary, tables),
    }
    if tables["answers"]:
        (folder / "answers.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in tables["answers"])
        )
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value) + "\n")
    return key


def fetch(runs: Iterable[Any], target: Path) -> Iterator[tuple[str, str | None]]:
    """Write every run; yields its name and key (None where ffbench did not make it). Runs there
    already stay.
    """
    for run in runs:
        if (target / "runs" / str(run.name) / "result.json").exists():
            yield str(run.name), str(run.name)
        else:
            yield str(run.name), write_run(run, target)


def main() -> int:
    """0 when there are runs, 1 when there are none, 2 where W&B cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m ffanalysis.wandb_source",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("project", help="ENTITY/PROJECT, or PROJECT of your default entity")
    parser.add_argument("--to", type=Path, required=True, help="output folder for the runs")
    options = parser.parse_args()
    try:
        found = list(fetch(project_runs(options.project), options.to))
    except (LoadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, key in found:
        if key is None:
            print(f"left out: {name}: not a run of ffbench", file=sys.stderr)
    kept = [key for _, key in found if key]
    print(f"{len(kept)} runs in {options.to}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
