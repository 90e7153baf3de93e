"""The text of --help and --info: commands, groups, and each setting's default and meaning."""

import ast
import inspect
import re
import textwrap
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from ffbench.cli.compose import (
    Composer,
    config_dir,
    configuration,
    group_options,
    searchpath_of,
)
from ffbench.cli.launchers.settings import PACKAGES, installed
from ffbench.cli.main import VERBS
from ffbench.settings import RunSettings

WIDTH = 100
EXAMPLES = (
    ("+sweep=sparsity --dry-run", "the jobs of a sweep, and what they should cost"),
    ("+sweep=sparsity", "the main job: dense, and two levels of sparsity"),
    ("model=qwen25_05b sparsity=0.3,0.5 task=none", "your own model and values; lists multiply"),
    ("task=longbench task.limit=20 tracker=none", "LongBench, 20 records per task, without W&B"),
    ("report --format html", "everything in OUTPUT_DIR as one page"),
)
OPTIONS = (
    ("--dry-run", "list the jobs, their keys and their cost; do nothing"),
    ("--config-dir DIR", "your own model, task and sweep files, in DIR/model, DIR/task, ..."),
    ("--cfg job", "print each job's configuration as YAML"),
    ("--info", "print where configuration comes from and which launchers are installed"),
    ("--output-dir DIR", "the same as output_dir=DIR"),
    ("--version", "print the version"),
)


def usage() -> str:
    """The help text."""
    from ffbench import __version__

    with configuration():
        groups = group_options()
        defaults = Composer().config([])
    return "\n\n".join(
        [
            f"FFBench {__version__}: FFN sparsity in LLM prefill\n"
            "python -m ffbench [SETTING=VALUE ...] [+sweep=NAME] [OPTION ...]\n"
            "python -m ffbench COMMAND ...     (COMMAND --help tells more)",
            "Examples\n" + rows([(f"python -m ffbench {text}", why) for text, why in EXAMPLES]),
            "Commands\n" + rows(list(VERBS.items())),
            "Options\n" + rows(list(OPTIONS)),
            "Groups (GROUP=FILE; +sweep and +experiment with a plus sign)\n"
            + rows([(name, ", ".join(options)) for name, options in groups.items()]),
            "Settings (SETTING=VALUE; several values with commas make several runs)\n"
            + "\n".join(setting_lines(RunSettings, defaults)),
        ]
    )


def rows(pairs: list[tuple[str, str]], indent: int = 2) -> str:
    """Two columns; the second is wrapped under itself."""
    left = min(max(len(name) for name, _ in pairs), 62) + 2
    lines = []
    for name, text in pairs:
        first = " " * indent + name.ljust(left)
        lines.append(
            textwrap.fill(
                text or "-", WIDTH, initial_indent=first, subsequent_indent=" " * (indent + left)
            )
        )
    return "\n".join(lines)


def setting_lines(kind: type, defaults: DictConfig, prefix: str = "") -> list[str]:
    """A line per setting of a settings class: name, default, meaning; then its groups."""
    hints, notes = get_type_hints(kind), field_notes(kind)
    yaml_notes = config_notes()
    own, inner = [], []
    for field in fields(kind):
        key, hint = prefix + field.name, hints[field.name]
        if is_dataclass(hint):
            doc = " ".join((inspect.getdoc(hint) or "").split())
            inner += ["", textwrap.fill(f"{key}: {doc}", WIDTH, initial_indent="  ")]
            inner += setting_lines(hint, defaults, f"{key}.")  # type: ignore[arg-type]
            continue
        value = OmegaConf.select(defaults, key, throw_on_missing=False)
        note = notes.get(field.name) or yaml_notes.get(key, "")
        if isinstance(value, DictConfig) and len(value):
            own += [
                (f"{key}.{name!s}", shown(inner_value, "")) for name, inner_value in value.items()
            ]
        else:
            own.append((key, shown(value, note)))
    return ([rows(own)] if own else []) + inner


def shown(value: Any, note: str) -> str:
    """A default and a meaning."""
    text = "null" if value is None else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return f"{text or chr(39) * 2}  {note}" if note else (text or "''")


def field_notes(kind: type) -> dict[str, str]:
    """Meaning of each field of a dataclass: the comment behind it or above it, or its docstring."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
        body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    except (OSError, SyntaxError, AttributeError, IndexError):
        return {}
    lines, notes = source.splitlines(), {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        behind = re.search(
            r"#:?\s*(.+)$", lines[(node.end_lineno or 1) - 1][node.end_col_offset or 0 :]
        )
        above = re.match(r"\s*#:?\s*(.+)$", lines[node.lineno - 2])
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            notes[node.target.id] = " ".join(str(after.value.value).split())
        elif behind or above:
            notes[node.target.id] = (behind or above)[1].strip()  # type: ignore[index]
    return notes


def config_notes() -> dict[str, str]:
    """Comment of each key of config.yaml, behind it or above it, by dotted name."""
    notes: dict[str, str] = {}
    parent, above = "", ""
    for line in (config_dir() / "config.yaml").read_text(encoding="utf-8").splitlines():
        match = re.match(r"(\s*)([a-z_]+):([^#]*)(?:#\s*(.+))?$", line)
        if match is None:
            above = line.strip("# ").strip() if line.strip().startswith("#") else ""
            continue
        indent, name, value, note = match.groups()
        if not indent and not value.strip():
            parent = f"{name}."
        key = (parent if indent else "") + name
        if note or above:
            notes[key] = note or above
        above = ""
    return notes


def configuration_info(overrides: list[str]) -> str:
    """Where configuration comes from, and which launchers are installed."""
    searchpath = searchpath_of(overrides)
    with configuration():
        groups = group_options(searchpath)
    folders = [config_dir(), *re.findall(r"file://([^'\",\]]+)", " ".join(searchpath))]
    return rows(
        [
            ("configuration", ", ".join(str(Path(folder)) for folder in folders)),
            ("launchers", ", ".join(["local", *filter(installed, PACKAGES)])),
            *((name, ", ".join(options)) for name, options in groups.items()),
        ],
        indent=0,
    )
