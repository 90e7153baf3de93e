"""What was set in each run: which settings differ between rows, and which are the same.

A column with a dot in its name is a setting: `compensator.rank` is a parameter of the row's
compensator, `task.limit` a key of config.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from ffbench.runs.schema import DENSE, FORMER_METRIC, FORMER_WINDOWS, METHOD_KINDS, RunResult

MAIN = (
    "model",
    "dtype",
    "device",
    "task",
    "protocol",
    "sparsity",
    *METHOD_KINDS,
    "block_size",
    "group_size",
    "blocks",
    "hot_fraction",
    "calibration_text",
    "seed",
)
# a dotted setting under these heads belongs to the value of that column
OWNERS = ("model", "task", *METHOD_KINDS)
# keys of config.json that change no result, or that a result field already has
NOT_SHOWN = ("output_dir", "tracker", "launcher", "hydra", "plugins", *METHOD_KINDS, "objective")
IN_RESULT = (
    *("model.name", "model.dtype", "model.device", "device"),
    *("task.name", "task.protocol", "calibration.folder"),
    *("sparsity", "block_size", "group_size", "blocks", "hot_fraction", "seed"),
)
TITLES = {
    "block_size": "block",
    "group_size": "group",
    "hot_fraction": "hot",
    "calibration_text": "fitted on",
}


def parameter_columns(result: RunResult) -> dict[str, Any]:
    """Dotted name -> value of a result's method parameters and of its objective."""
    row: dict[str, Any] = {}
    for kind, parameters in result.parameters.items():
        row |= {f"{kind}.{name}": plain(value) for name, value in parameters.items()}
    if result.objective is not None:
        former = {"metric": FORMER_METRIC, "windows": FORMER_WINDOWS}
        for name, value in asdict(result.objective).items():
            row[f"objective.{name}"] = former.get(name) if value is None else value
    return row


def plain(value: Any) -> Any:
    """A value that a frame can group by."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of a nested configuration."""
    if not isinstance(value, Mapping):
        return {prefix: plain(value)}
    out: dict[str, Any] = {}
    for name, inner in value.items():
        out |= leaves(inner, f"{prefix}.{name}" if prefix else str(name))
    return out


def config_columns(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each configuration, the settings that differ between them and that no result has."""
    flat = [
        {
            name: value
            for name, value in leaves(config).items()
            if name.split(".")[0] not in NOT_SHOWN and name not in IN_RESULT
        }
        for config in configs
    ]
    filled = [row for row in flat if row]
    names = dict.fromkeys(name for row in filled for name in row)
    varied = [name for name in names if len({repr(row[name]) for row in filled if name in row}) > 1]
    dotted = {name: name if "." in name else f"run.{name}" for name in varied}
    return [{dotted[name]: row[name] for name in varied if name in row} for row in flat]


def columns(frame: pd.DataFrame) -> list[str]:
    """Every setting of a frame, a method's parameters after its name."""
    dotted = [name for name in frame if "." in str(name)]
    names: list[str] = []
    for name in MAIN:
        names += [name] if name in frame else []
        names += [other for other in dotted if other.split(".")[0] == name]
    return names + [name for name in dotted if name not in names]


def sparse(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a plan; all of them if none is dense."""
    return frame[frame["selector"] != DENSE] if "selector" in frame else frame


def differs(frame: pd.DataFrame, name: str) -> bool:
    """True if a setting has more than one value. A parameter counts within rows of one method."""
    owner = name.split(".")[0]
    if name in ("sparsity", "model", "task", "protocol", "dtype", "device", "seed"):
        return bool(frame[name].nunique() > 1)
    rows = sparse(frame)
    if "." in name and owner in METHOD_KINDS and owner in rows:
        return bool((rows.groupby(owner)[name].nunique(dropna=False) > 1).any())
    if "." in name and owner in OWNERS and owner in rows:
        return bool((rows.groupby(owner)[name].nunique() > 1).any())
    return bool(rows[name].nunique() > 1)


def differing(frame: pd.DataFrame, leave_out: Sequence[str] = ()) -> list[str]:
    """The settings that differ between the rows of a frame."""
    return [name for name in columns(frame) if name not in leave_out and differs(frame, name)]


def in_words(value: Any) -> str:
    """A setting's value."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def title(name: str) -> str:
    """A setting's name as a heading."""
    return TITLES.get(name, name.removeprefix("run."))


def parameters_of(rows: pd.DataFrame, owner: str, leave_out: Sequence[str]) -> str:
    """The parameters that all rows of one method share, in brackets."""
    names = [name for name in rows if str(name).startswith(f"{owner}.") and name not in leave_out]
    words = [
        f"{name.split('.', 1)[1]} {in_words(rows[name].dropna().iloc[0])}"
        for name in names
        if rows[name].notna().any()
    ]
    return f" ({', '.join(words)})" if words else ""


def fixed(frame: pd.DataFrame, leave_out: Sequence[str] = ()) -> str:
    """The settings that are the same in all rows, in words; parameters of methods included."""
    changing, words = set(differing(frame)) | set(leave_out), []
    rows = sparse(frame)
    for name in columns(frame):
        if "." in name:
            if name.split(".")[0] not in (*OWNERS, "objective") and name not in changing:
                words += value_in_words(name, rows)
        elif name in METHOD_KINDS:
            for method, group in rows.groupby(name, sort=False):
                inner = parameters_of(group, name, list(changing))
                if name not in changing or inner:
                    words.append(f"{name} {method}{inner}")
        elif name not in changing:
            words += value_in_words(name, rows if rows[name].notna().any() else frame)
    objective = parameters_of(rows, "objective", list(changing))
    words += [f"objective{objective}"] if objective else []
    return ", ".join(words)


def value_in_words(name: str, rows: pd.DataFrame) -> list[str]:
    """A setting with its only value; nothing if there is none."""
    values = rows[name].dropna()
    return [f"{title(name)} {in_words(values.iloc[0])}"] if len(values) else []
