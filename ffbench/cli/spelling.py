"""How values are spelled on the command line: what shells and W&B's agent do to them is undone."""

import re
import shlex
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from ffbench.cli.options import expanded, quoted

# A whole value or list entry that is spelled None, as Python and W&B's agent spell Hydra's null.
PYTHON_NONE = re.compile(r"(?<=[=,\[(])\s*None\s*(?=[,\])]|$)")
SEARCHPATH = "hydra.searchpath"
CLEAN_DIGITS = 12  # a range's 0.1 + 2 * 0.1 is 0.30000000000000004; no setting needs more digits


def optional(kind: Any) -> bool:
    """Whether a type hint allows None."""
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def respelled(override: str, hints: dict[str, Any]) -> str:
    """An override with ~ expanded, and with None as null if its setting can be null.

    `hints` maps each setting to its type.
    """
    key, equals, value = override.partition("=")
    if not equals:
        return override
    if value == "~" or value.startswith("~/"):
        return f"{key}={quoted(expanded(value))}"
    if optional(hints.get(key.lstrip("+"))):
        return key + PYTHON_NONE.sub("null", equals + value)
    return override


def clean(value: Any) -> Any:
    """A float of a range without the last digits that adding up its steps left."""
    return float(f"{value:.{CLEAN_DIGITS}g}") if isinstance(value, float) else value


def parse_problem(override: str, detail: str) -> str:
    """Why an override is not understood, and how its value is quoted."""
    key, equals, value = override.partition("=")
    if not equals:
        return (
            f"{override!r} is not understood; give settings as KEY=VALUE, for example sparsity=0.5"
        )
    if not value.strip("= "):
        return f"{override!r} is not understood: {key} has no value; use {key}=null for none"
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"{override!r} is not understood ({detail}); quote the value for the shell and for Hydra: "
        + shlex.quote(f'{key}="{text}"')
    )


def searchpath(folder: str) -> str:
    """The override that adds a folder of configuration files. Raises ValueError if it is none."""
    path = Path(expanded(folder)).absolute()
    if not path.is_dir():
        raise ValueError(f"--config-dir: {folder} is not a directory")
    return f"{SEARCHPATH}=[{quoted(f'file://{path}')}]"


def searchpath_problems(override: str) -> list[str]:
    """Folders of a search path override that are not there."""
    folders = re.findall(r"file://([^'\",\]]+)", override)
    return [
        f"{SEARCHPATH}: {folder} is not a directory"
        for folder in folders
        if not Path(folder).is_dir()
    ]
