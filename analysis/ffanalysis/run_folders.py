"""Read run folders: results of any schema version as typed records of today's."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ffanalysis.frames import LoadError
from ffbench import strict_json
from ffbench.runs import legacy
from ffbench.runs.records import SchemaError, parse
from ffbench.runs.schema import SCHEMA_VERSION, RunResult
from ffbench.runs.store import RunStore

READABLE = (1, SCHEMA_VERSION)
NO_RUNS = "{}: no finished runs; start some with: python -m ffbench +sweep=sparsity"


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file. Raises LoadError if the file is damaged."""
    try:
        value = strict_json.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: not readable ({error})") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path}: expected an object")
    return value


def read_optional(path: Path) -> dict[str, Any]:
    """The object of a JSON file, empty if it was not copied with its run."""
    return read_json(path) if path.exists() else {}


def read_config(folder: Path, result: RunResult) -> dict[str, Any]:
    """A run's configuration with today's method names; empty if it was not copied. The revision of
    a hub model is the commit that was loaded, if the run's provenance has it.
    """
    config = read_optional(folder / "config.json")
    if result.schema_version == 1:
        config = legacy.current_config(config)
    commit = read_optional(folder / "provenance.json").get("model_revision")
    if commit and isinstance(config.get("model"), dict):
        config["model"]["revision"] = commit
    return config


def read_result(folder: Path) -> RunResult:
    """The result of one run folder.

    Raises:
        LoadError: the file is damaged, lacks fields, or has a schema version that is not read.

    """
    path = folder / "result.json"
    content = read_json(path)
    version = content.get("schema_version")
    if version not in READABLE:
        raise LoadError(
            f"{path}: schema version {version!r}; versions {' and '.join(map(str, READABLE))} are "
            "read. Use the ffbench that wrote it, or move the run away"
        )
    try:
        if version == 1:
            config = read_optional(folder / "config.json")
            content = legacy.current_result(content, config)
        return parse(RunResult, legacy.with_loss_names(content), str(path))
    except SchemaError as error:
        raise LoadError(str(error)) from error
    except (AttributeError, TypeError) as error:
        raise LoadError(f"{path}: not a result of schema version {version} ({error})") from error


def results(
    output_dir: str | Path, run_keys: Sequence[str] | None = None
) -> Iterator[tuple[Path, RunResult]]:
    """Folder and result of every finished run, by key, or of `run_keys` in their order.

    Results are read one at a time, so that thousands of them need not fit into memory.

    Raises:
        LoadError: a run is missing, or its result cannot be read.

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
            f"{folder}: no result for {', '.join(missing)}; "
            "`python -m ffbench status` lists the runs"
        )
    return ((folder / name, read_result(folder / name)) for name in names)


def job_commands(output_dir: str | Path) -> dict[str, str]:
    """Run key -> command that makes that run alone, from the sweep lists. Raises StoreError for a
    list that is damaged.
    """
    commands: dict[str, str] = {}
    for sweep in RunStore(output_dir).sweeps():
        for job in sweep["jobs"]:
            commands.setdefault(
                job["run_key"], shlex.join(["python", "-m", "ffbench", *job["overrides"]])
            )
    return commands
