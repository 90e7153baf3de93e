"""LongBench task by task, from the committed runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ffanalysis import load
from ffanalysis.run_folders import read_optional, results
from ffanalysis.tables import grid
from ffbench.runs.schema import RunResult
from ffbench.runs.score_fields import LossFields

RESULTS = Path("benchmarks") / "results" / "longbench"
BLOCKS = {"similar": ", blocks of similar tokens", "sorted": ", blocks of sorted tokens"}
NOT_SHOWN = ("output_dir=", "tracker=")  # overrides that change no result


@dataclass(frozen=True)
class Run:
    """A finished run on LongBench records, and what it was started with."""

    result: RunResult
    config: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def sparse(self) -> bool:
        """True if it has a plan."""
        return not self.result.dense

    @property
    def label(self) -> str:
        """Sparsity and protocol."""
        protocol = "" if self.result.protocol == "whole" else f", {self.result.protocol}"
        return f"{100 * self.result.sparsity:g}%{protocol}"

    @property
    def prompts(self) -> str:
        """Model and scored prompts: runs that differ here are in different tables."""
        task, result = self.config["task"], self.result
        counts = [(name, fields.n) for name, fields in result.tasks.items()]
        sizes = [task["max_length"], task["batch_size"]]
        return repr([result.model, result.dtype, result.data, counts, *sizes])

    @property
    def method(self) -> str:
        """Methods with their parameters, kind of blocks and calibration text."""
        words = []
        for kind in ("selector", "compensator", "scheduler"):
            parameters = self.result.parameters.get(kind) or {}
            inner = ", ".join(f"{name} {value}" for name, value in parameters.items() if value)
            words.append(f"{getattr(self.result, kind)}{f' ({inner})' if inner else ''}")
        text = self.result.calibration_text or "embedded"
        fitted = "" if text == "embedded" else f", fitted on the user's text {text}"
        blocks = BLOCKS.get(self.result.blocks or "", "")
        return " + ".join(words[:2]) + f", {words[2]}" + blocks + fitted

    @property
    def plan(self) -> str:
        """The method and the sizes of its blocks and sets: runs that differ here are in different
        tables.
        """
        result = self.result
        return repr([self.method, result.block_size, result.group_size, result.hot_fraction])


def runs_with_data(output_dir: Path) -> list[Run]:
    """Finished runs on records of a benchmark: by prompts, dense first, then by method, protocol
    and sparsity. Raises LoadError.
    """
    runs = [
        Run(
            result,
            read_optional(folder / "config.json"),
            read_optional(folder / "provenance.json"),
        )
        for folder, result in results(output_dir)
        if result.data
    ]
    for run in runs:
        if "task" not in run.config:
            raise load.LoadError(
                f"run {run.result.run_key}: its config.json is missing; run it again"
            )
    return sorted(
        runs,
        key=lambda run: (
            run.prompts,
            run.sparse,
            run.method,
            run.result.protocol or "",
            run.result.sparsity,
        ),
    )


def longbench_runs(output_dir: Path) -> list[Run]:
    """The runs whose answers were scored. Raises LoadError."""
    runs = runs_with_data(output_dir)
    for run in runs:
        if run.result.mean is None:
            raise load.LoadError(f"run {run.result.run_key}: its means are missing; run it again")
    return runs


def span(fields: dict[str, Any], name: str, digits: int, scale: float = 1) -> str:
    """A change with its interval; a dash if it was not measured."""
    value, low, high = (fields.get(name + end) for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{scale * value:.{digits}f}"
    return f"{scale * value:.{digits}f} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


def rows_of(result: RunResult) -> dict[str, dict[str, Any]]:
    """Losses by the name of their row: tasks, categories, length buckets and the means."""
    rows: dict[str, LossFields | None] = {
        f"`{name}`" + ("" if task.headline else " (not in the means)"): task
        for name, task in result.tasks.items()
    }
    rows |= {f"mean, {name}": fields for name, fields in (result.categories or {}).items()}
    rows |= {
        f"mean, LongBench-E {name} words": fields for name, fields in (result.buckets or {}).items()
    }
    rows |= {"**mean of tasks**": result.mean, "**mean of categories**": result.category_mean}
    return {name: asdict(fields) for name, fields in rows.items() if fields is not None}


def table(runs: list[Run]) -> str:
    """One row per task, category, bucket and mean; the sparse runs next to each other."""
    sparse = [run for run in runs if run.sparse]
    rows = [rows_of(run.result) for run in (sparse or runs)]
    head = ["", "n", "cut", "dense", "chance"]
    head += [f"{run.label}: {what}" for run in sparse for what in ("loss, points", "rel. loss, %")]
    head += ["dense NLL", *(f"{run.label}: NLL increase, %" for run in sparse)]
    lines = []
    for name, first in rows[0].items():
        chance = "" if first.get("chance") is None else f"{first['chance']:.1f}"
        cut = "" if first.get("truncated") is None else str(first["truncated"])
        cells = [name, str(first["n"]), cut, f"{first['score_dense']:.1f}", chance]
        for row in rows if sparse else []:
            loss = row.get(name, {})
            cells += [span(loss, "loss_abs", 1), span(loss, "loss_rel", 0, 100)]
        cells.append(f"{first['nll_dense']:.3f}" if first.get("nll_dense") is not None else "-")
        cells += [span(row.get(name, {}), "nll_increase_rel", 0, 100) for row in rows if sparse]
        lines.append(cells)
    return grid(head, lines)


def density(run: Run) -> str:
    """Lowest and highest density used over a run's tasks."""
    values = [
        task.density_used for task in run.result.tasks.values() if task.density_used is not None
    ]
    return f"{run.label} {min(values):.2f} to {max(values):.2f}" if values else ""


def where(runs: list[Run]) -> str:
    """What was run where, from the rows shown."""
    last, task = runs[-1], runs[-1].config["task"]
    commands = dict.fromkeys(
        " ".join(
            text for text in run.provenance.get("command") or [] if not text.startswith(NOT_SHOWN)
        )
        for run in runs
    )
    places = dict.fromkeys(
        f"{run.provenance.get('cpu')}, {(run.provenance.get('threads') or {}).get('torch')} "
        f"threads, git {str(run.provenance.get('git_sha'))[:10]}"
        for run in runs
    )
    used = "; ".join(text for run in runs if run.sparse and (text := density(run)))
    data = last.result.data or ""
    return (
        f"{data[:1].upper()}{data[1:]}, {task['limit'] or 'all'} records per task, evenly spaced "
        f"over the lengths, at most {task['max_length']} tokens for prompt and answer, batch size "
        f"{task['batch_size']}. {last.result.model}, {last.result.dtype}; {last.method}; block "
        f"size {last.result.block_size}. FFN density used in the prompts, lowest to highest task: "
        f"{used or '1'}. Machine: {'; '.join(places)}. "
        f"Commands: {', '.join(f'`{text}`' for text in commands if text)}."
    )


def conditions(runs: list[Run]) -> str:
    """What was run where, and what the columns are."""
    return (
        f"{where(runs)} `cut`: prompts shortened. `chance`: score of a guess; a dense score near "
        "it measures nothing. Brackets: 95% paired bootstrap over records."
    )


def sections(root: Path) -> str:
    """One table per set of prompts and kind of plan, with the dense run of the same prompts."""
    runs = longbench_runs(root / RESULTS)
    if not runs:
        raise load.LoadError(
            f"{root / RESULTS}: no runs; add some with: "
            "python -m tools.docs.take outputs --into longbench"
        )
    parts = []
    for prompts in dict.fromkeys(run.prompts for run in runs):
        same = [run for run in runs if run.prompts == prompts]
        dense = [run for run in same if not run.sparse]
        for plan in dict.fromkeys(run.plan for run in same if run.sparse) or [None]:
            chosen = dense + [run for run in same if run.sparse and run.plan == plan]
            parts += [table(chosen), "", conditions(chosen), ""]
    return "\n".join(parts)
