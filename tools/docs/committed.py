"""Copy the small files of finished runs into the committed results, without the paths of the
machine that they ran on.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = "output_dir"
DEFAULT_FOLDER = "outputs"
PATH_SETTINGS = ("data_dir", "folder", "location")


def last_name(value: Any) -> Any:
    """The last name of a path that is absolute or leaves the checkout; other values as they are."""
    path = Path(value) if isinstance(value, str) else Path()
    return path.name if path.is_absolute() or ".." in path.parts else value


def short_override(text: str) -> str:
    """An override with a path shortened to its last name."""
    name, equals, value = text.partition("=")
    return f"{name}={last_name(value)}" if equals else text


def short_command(command: list[str]) -> list[str]:
    """A command without its output folder, with paths shortened to their last names."""
    return [short_override(text) for text in command if not text.startswith(f"{FOLDER}=")]


def short_start(start: dict[str, Any]) -> dict[str, Any]:
    """The provenance of one start with short commands, those of earlier starts included."""
    out = dict(start)
    if isinstance(start.get("command"), list):
        out["command"] = short_command(start["command"])
    if isinstance(start.get("earlier"), list):
        out["earlier"] = [short_start(earlier) for earlier in start["earlier"]]
    return out


def short_config(value: Any) -> Any:
    """A configuration with the default output folder, and paths shortened to their last names."""
    if not isinstance(value, dict):
        return value
    out = {
        name: last_name(inner) if name in PATH_SETTINGS else short_config(inner)
        for name, inner in value.items()
    }
    return out | ({FOLDER: DEFAULT_FOLDER} if FOLDER in value else {})


def without_paths(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The content of a run's file without the paths of the machine; they change no result."""
    if name == "config.json":
        return dict(short_config(content))
    return short_start(content) if name == "provenance.json" else content


def copy_sweep(file: Path, target: Path) -> None:
    """Write a sweep's list of jobs into the folder `target`."""
    sweep = json.loads(file.read_text(encoding="utf-8"))
    jobs = [job | {"overrides": short_command(job["overrides"])} for job in sweep["jobs"]]
    target.mkdir(parents=True, exist_ok=True)
    (target / file.name).write_text(
        json.dumps(sweep | {"jobs": jobs}, indent=1) + "\n", encoding="utf-8"
    )


def copy_run(folder: Path, target: Path) -> None:
    """Write result.json, config.json and provenance.json of one run folder into `target`.

    Raises:
        FileNotFoundError: one of them is missing.

    """
    target.mkdir(parents=True)
    for name in ("result.json", "config.json", "provenance.json"):
        content = without_paths(name, json.loads((folder / name).read_text(encoding="utf-8")))
        (target / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
