"""Copy the small files of done runs into the committed results, without the paths of the machine
that they ran on.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = "output_dir"
DEFAULT_FOLDER = "outputs"


def word_without_place(word: str) -> str:
    """A word of a command; of an absolute path only the last name stays."""
    name, equals, value = word.partition("=")
    return f"{name}={Path(value).name}" if equals and Path(value).is_absolute() else word


def words_without_place(words: list[str]) -> list[str]:
    """The words of a command without the output folder and without absolute paths."""
    return [word_without_place(word) for word in words if not word.startswith(f"{FOLDER}=")]


def start_without_place(start: dict[str, Any]) -> dict[str, Any]:
    """The provenance of one start without the output folder and without absolute paths, and so with
    earlier ones.
    """
    found = dict(start)
    if isinstance(start.get("command"), list):
        found["command"] = words_without_place(start["command"])
    if isinstance(start.get("earlier"), list):
        found["earlier"] = [start_without_place(one) for one in start["earlier"]]
    return found


def without_place(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The file's content with the output folder as it is by default: it changes no result."""
    if name == "config.json" and FOLDER in content:
        return content | {FOLDER: DEFAULT_FOLDER}
    return start_without_place(content) if name == "provenance.json" else content


def copy_sweep(file: Path, target: Path) -> None:
    """Write a sweep's list of jobs into the folder `target`, which is made where it is missing."""
    sweep = json.loads(file.read_text())
    jobs = [job | {"overrides": words_without_place(job["overrides"])} for job in sweep["jobs"]]
    target.mkdir(parents=True, exist_ok=True)
    (target / file.name).write_text(json.dumps(sweep | {"jobs": jobs}, indent=1) + "\n")


def copy_run(folder: Path, target: Path) -> None:
    """Write result.json, config.json and provenance.json of one run folder into `target`, which is
    made.
    """
    target.mkdir(parents=True)
    for name in ("result.json", "config.json", "provenance.json"):
        content = without_place(name, json.loads((folder / name).read_text()))
        (target / name).write_text(json.dumps(content, indent=1) + "\n")
