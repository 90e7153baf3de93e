"""Copy the finished runs of a W&B project into run folders, which everything else here reads.

python -m ffanalysis.wandb_source ENTITY/PROJECT --to from_wandb
python -m ffbench report --output-dir from_wandb

Needs the public API and a key (`wandb login`, or WANDB_API_KEY). What W&B never got is left out:
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
from ffbench.runs.records import meanings
from ffbench.runs.schema import DENSE, METHOD_KINDS, SCHEMA_VERSION, RunResult

RUN_KEY = re.compile(r"[0-9a-f]{16}")
TABLES = ("tasks", "layers", "ttft", "answers", "windows")
NOT_PARAMETERS = ("name", "hot_fraction")


def project_runs(project: str) -> Iterable[Any]:
    """The finished runs of ENTITY/PROJECT by the public API. Raises LoadError if W&B is missing or
    refuses.
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
    """Rows of a table that the run logged, from its file; none if `entry` is not a table."""
    path = entry.get("path") if isinstance(entry, dict) else None
    if not path:
        return []
    with (
        tempfile.TemporaryDirectory() as folder,
        run.file(path).download(root=folder, replace=True) as file,
    ):
        table = json.load(file)
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def methods_of(config: dict[str, Any]) -> dict[str, Any]:
    """Method names and parameters from a run's configuration."""
    if not config["sparsity"]:
        return dict.fromkeys(METHOD_KINDS, DENSE)
    names = {kind: config[kind]["name"] for kind in METHOD_KINDS}
    parameters = {
        kind: {name: value for name, value in config[kind].items() if name not in NOT_PARAMETERS}
        for kind in METHOD_KINDS
    }
    return names | {"parameters": parameters}


def texts_of(config: dict[str, Any]) -> dict[str, Any]:
    """Result fields that are no numbers, which the summary lacks, from the configuration."""
    model, task = config["model"], config["task"]
    fields = {
        "model": model["name"],
        "dtype": model["dtype"],
        "device": model.get("device") or config.get("device"),
        "task": task["name"],
        "protocol": task.get("protocol"),
    }
    if config["sparsity"]:
        # the summary's `objective` may be the number that a search minimises
        weights = config.get("objective")
        fields["objective"] = weights if isinstance(weights, dict) else None
        fields["blocks"] = config.get("blocks")
    return fields


def result_of(
    key: str, config: dict[str, Any], summary: dict[str, Any], tables: dict[str, list]
) -> dict[str, Any]:
    """A result.json from what the tracker sent: numbers of the summary, texts of the configuration,
    lists of tables. It has the schema version that the run was written with.
    """
    sent = nested({name: value for name, value in summary.items() if name not in TABLES})
    known = {*meanings(RunResult), "rank"}  # schema 1 had the rank in the result
    # an empty mapping is a part that the run does not have; 0 is a number
    numbers = {n: value if value or value == 0 else None for n, value in sent.items() if n in known}
    speed, fidelity = sent.get("speed"), sent.get("fidelity")
    cpu = (sent.get("provenance") or {}).get("cpu")
    part = (config.get("fidelity") or {}).get("part")
    lists = {
        "speed": speed | {"ttft": tables["ttft"], "cpu": cpu} if speed else None,
        "fidelity": fidelity | {"rows": tables["windows"], "part": part} if fidelity else None,
        "layers": tables["layers"] or None,
        "tasks": {
            row["task"]: {name: value for name, value in row.items() if name != "task"}
            for row in tables["tasks"]
        },
        "cost": sent.get("cost") or {},
    }
    head = {
        "schema_version": int(sent.get("schema_version", SCHEMA_VERSION)),
        "run_key": key,
        "sparsity": float(config["sparsity"]),
    }
    return numbers | lists | texts_of(config) | methods_of(config) | head


def provenance_of(summary: dict[str, Any]) -> dict[str, Any]:
    """provenance.json as far as W&B has it; the command's words were joined by blanks."""
    known = nested(summary).get("provenance") or {}
    return known | {"command": str(known.get("command") or "").split(), "read_from": "W&B"}


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
            "".join(json.dumps(row) + "\n" for row in tables["answers"]), encoding="utf-8"
        )
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value) + "\n", encoding="utf-8")
    return key


def fetch(runs: Iterable[Any], target: Path) -> Iterator[tuple[str, str | None]]:
    """Write every run that is not there yet; yields its name and key, None for runs of others."""
    for run in runs:
        if (target / "runs" / str(run.name) / "result.json").exists():
            yield str(run.name), str(run.name)
        else:
            yield str(run.name), write_run(run, target)


def main() -> int:
    """0 when there are runs, 1 when there are none, 2 if W&B cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m ffanalysis.wandb_source",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("project", help="ENTITY/PROJECT, or PROJECT of your default entity")
    parser.add_argument("--to", type=Path, required=True, help="output folder for the runs")
    options = parser.parse_args()
    try:
        fetched = list(fetch(project_runs(options.project), options.to))
    except (LoadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, key in fetched:
        if key is None:
            print(f"skipped: {name}: not a run of ffbench", file=sys.stderr)
    kept = [key for _, key in fetched if key]
    print(f"{len(kept)} runs in {options.to}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
