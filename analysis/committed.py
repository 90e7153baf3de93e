"""Copy the small files of done runs into the committed results, without the paths of the machine that they ran on."""

import json
from pathlib import Path
from typing import Any

FOLDER = "output_dir"
DEFAULT_FOLDER = "outputs"


def without_place(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The file's content with the output folder as it is by default: it changes no result."""
    if name == "config.json" and FOLDER in content:
        return content | {FOLDER: DEFAULT_FOLDER}
    if name == "provenance.json" and isinstance(content.get("command"), list):
        return content | {"command": [word for word in content["command"] if not word.startswith(f"{FOLDER}=")]}
    return content


def copy_run(folder: Path, target: Path) -> None:
    """Write result.json, config.json and provenance.json of one run folder into `target`, which is made."""
    target.mkdir(parents=True)
    for name in ("result.json", "config.json", "provenance.json"):
        content = without_place(name, json.loads((folder / name).read_text()))
        (target / name).write_text(json.dumps(content, indent=1) + "\n")
