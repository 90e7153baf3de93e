"""Tables of result fields, older names and frame columns, from their declarations."""

import types
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from ffanalysis.bench_columns import FRAMES
from ffanalysis.columns import METHOD
from ffanalysis.tables import grid
from ffbench.runs import legacy, schema, score_fields
from ffbench.runs.records import types_of

RECORDS = (
    schema.RunResult,
    schema.Objective,
    schema.FidelityFields,
    schema.TailFidelity,
    schema.PromptFidelity,
    schema.FidelityRow,
    schema.SpeedFields,
    schema.SpeedRatio,
    schema.WideSpeed,
    score_fields.LossFields,
    score_fields.GoldFields,
    score_fields.GoldSummary,
    score_fields.Power,
    score_fields.TaskFields,
    schema.LayerFields,
    schema.FlopsFields,
    schema.AnswerRecord,
)
WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false"}


def kind(hint: Any) -> str:
    """A field's type in words; a record by its heading."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return kind(next(part for part in arguments if part is not type(None))) + " or null"
    if origin is list:
        return f"list of {kind(arguments[0])}"
    if origin is dict:
        return f"text -> {kind(arguments[1])}"
    return "any value" if hint is Any else WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def record_table(record: type) -> str:
    """One record's fields; those of the record that it extends are left out."""
    inherited = {one.name for base in record.__mro__[1:-1] for one in fields(base)}
    hints = types_of(record)
    rows = [
        [
            f"`{one.name}`",
            kind(hints[one.name])
            + (", required" if one.default is MISSING and one.default_factory is MISSING else ""),
            one.metadata["meaning"],
        ]
        for one in fields(record)
        if one.name not in inherited
    ]
    about = (record.__doc__ or "").strip()
    if inherited:
        about += f" It has the fields of {record.__mro__[1].__name__} too."
    return f"### {record.__name__}\n\n{about}\n\n{grid(['field', 'type', 'meaning'], rows)}"


def result(root: Path) -> str:
    """Every record of result.json and answers.jsonl."""
    return "\n\n".join(record_table(record) for record in RECORDS)


def renamed(root: Path) -> str:
    """Older method names with what they are called now."""
    rows = [
        [
            part,
            f"`{old}`",
            f"`{name}`",
            ", ".join(
                f"`{key}={value:g}`" if isinstance(value, float) else f"`{key}={value}`"
                for key, value in parameters.items()
            ),
        ]
        for part, names in legacy.RENAMED.items()
        for old, (name, parameters) in names.items()
    ]
    return grid(["kind", "schema 1", "now", "parameters"], rows)


def frames(root: Path) -> str:
    """Every frame and its columns; those that name a run are listed once."""
    parts = [
        "## Columns that name a run",
        "",
        "The frames marked with (run) begin with these. Parameters of methods follow by dotted "
        "name, such as `compensator.rank`.",
        "",
        column_table(METHOD),
    ]
    for name, columns in FRAMES.items():
        own = {
            title: column
            for title, column in columns.items()
            if columns is METHOD or title not in METHOD
        }
        has_run = all(title in columns for title in METHOD)
        parts += ["", f"## {name}{' (run)' if has_run else ''}", ""]
        parts.append(column_table(own if has_run else columns))
    return "\n".join(parts)


def column_table(columns: dict[str, Any]) -> str:
    """Columns with their kinds and meanings."""
    rows = [[f"`{title}`", column.kind, column.meaning] for title, column in columns.items()]
    return grid(["column", "kind", "meaning"], rows)
