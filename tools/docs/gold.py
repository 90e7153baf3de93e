"""LongBench by the likelihood of its gold answers: dense against sparse prompts, task by task."""

from pathlib import Path
from typing import Any

from ffanalysis.tables import grid
from ffbench.runs.score_fields import GoldFields
from tools.docs import longbench
from tools.docs.longbench import Run, span

RESULTS = Path("benchmarks") / "results" / "longbench_gold"
NOTHING = "Not measured yet."


def rows_of(run: Run) -> dict[str, tuple[int, dict[str, Any]]]:
    """Records and gold likelihoods by the name of their row: tasks, then both means."""
    result = run.result
    rows: dict[str, tuple[int, GoldFields]] = {
        f"`{name}`": (task.n, task) for name, task in result.tasks.items()
    }
    if result.gold is not None:
        for name, fields in (
            ("**mean of tasks**", result.gold.task_mean),
            ("**mean of records**", result.gold.record_mean),
        ):
            if fields is not None:
                rows[name] = (result.gold.n, fields)
    return {name: (n, vars(fields)) for name, (n, fields) in rows.items()}


def table(runs: list[Run]) -> str:
    """One row per task and mean; the sparse runs next to each other."""
    rows = [rows_of(run) for run in runs]
    head = ["", "n", "dense NLL", *(f"{run.label}: perplexity ratio" for run in runs)]
    lines = []
    for name, (n, first) in rows[0].items():
        ratios = [span(row[name][1], "gold_ppl_ratio", 3) for row in rows]
        lines.append([name, str(n), f"{first['nll_dense']:.3f}", *ratios])
    return grid(head, lines)


def section(root: Path) -> str:
    """One table per set of prompts and method."""
    runs = [run for run in longbench.runs_with_data(root / RESULTS) if run.sparse]
    if not runs:
        return NOTHING
    parts = []
    for prompts, method in dict.fromkeys((run.prompts, run.method) for run in runs):
        chosen = [run for run in runs if (run.prompts, run.method) == (prompts, method)]
        parts.append(f"{table(chosen)}\n\n{longbench.where(chosen)} {BRACKETS}")
    return "\n\n".join(parts)


def sentence(root: Path) -> list[str]:
    """The mean of tasks of each sparsity in words, for README; nothing if it was not measured."""
    values, counts = [], ""
    for run in longbench.runs_with_data(root / RESULTS):
        if run.sparse and run.result.gold is not None and run.result.gold.task_mean is not None:
            ratio = span(vars(run.result.gold.task_mean), "gold_ppl_ratio", 3)
            values.append(f"{ratio} at {run.label}")
            counts = f"{len(run.result.tasks)} tasks, {run.result.gold.n} records"
    if not values:
        return []
    return [
        f"Perplexity of LongBench's gold answers ({counts}), sparse over dense: "
        f"{'; '.join(values)} ([task by task](docs/longbench.md))."
    ]


BRACKETS = (
    "Perplexity of the gold answers, sparse over dense; brackets: 95% paired bootstrap over "
    "records, within tasks. Both means are over all tasks and records of the table."
)
