"""What a search found, as text: its best trial, and the Pareto front."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ffbench.cli.search_trials import SearchTrial, Trials

if TYPE_CHECKING:
    from ffbench.search.objectives import Measured, Objective


def front_lines(search: Trials, objectives: "Sequence[Objective]") -> list[str]:
    """The Pareto front as a table; for one objective, that of answer KL against FLOPs, with the
    best trial of the objective before it.
    """
    from ffbench.search.front import front
    from ffbench.search.objectives import Objective

    measured = {trial.run_key: trial for trial in search.trials if trial.values}
    if not measured:
        return ["no trial was measured"]
    lines = []
    axes = list(objectives)
    if len(axes) == 1:
        axes = [Objective("answer_kl"), Objective("flops")]
        lines.append(best_line(list(measured.values()), objectives[0]))
    results = {key: search.store.folder(key).result() for key in measured}
    points = {key: [axis.of(result) for axis in axes] for key, result in results.items()}
    whole: dict[str, list[Any]] = {key: row for key, row in points.items() if None not in row}
    if not whole:
        return [*lines, f"no Pareto front: no trial has {' and '.join(axis.name for axis in axes)}"]
    keys = [list(whole)[number] for number in front(list(whole.values()), axes)]
    varied = [name for name, spec in search.sweep.parameters.items() if "value" not in spec]
    rows = [
        [str(measured[key].number), *chosen(measured[key], varied)]
        + [value.text() for value in whole[key]]
        + [key]
        for key in keys
    ]
    heads = ["trial", *varied, *(axis.heading for axis in axes), "run"]
    title = (
        f"Pareto front: {len(keys)} of {len(whole)} measured runs; each beats every other one in "
        "something by more than noise"
    )
    return [*lines, "", title, "", *markdown([heads, *rows])]


def best_line(measured: "Sequence[SearchTrial]", objective: "Objective") -> str:
    """The best trial of one objective, and how many others are not worse by more than noise."""
    from ffbench.search.front import clearly_better

    sign = -1 if objective.maximize else 1
    best = min(measured, key=lambda trial: sign * value_of(trial).value)
    value, others = value_of(best), [trial for trial in measured if trial is not best]
    near = [one for one in others if not clearly_better(value, value_of(one), objective.maximize)]
    line = f"best {objective.name}: {value.text()} in trial {best.number}, run {best.run_key}"
    if not near:
        return line
    return f"{line}; {len(near)} of {len(others)} others cannot be told from it"


def value_of(trial: SearchTrial) -> "Measured":
    """The first objective's value of a measured trial."""
    assert trial.values is not None
    return trial.values[0]


def chosen(trial: SearchTrial, names: Sequence[str]) -> list[str]:
    """A trial's values of the parameters `names`, numbers with four digits."""
    values: Mapping[str, str] = dict(text.split("=", 1) for text in trial.overrides if "=" in text)
    return [short(values[name]) for name in names]


def short(text: str) -> str:
    """A number with at most four digits; other texts as they are."""
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows, the heading first, as a padded Markdown table."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        return f"| {' | '.join(cells)} |"

    return [line(rows[0]), line(["-" * width for width in widths]), *map(line, rows[1:])]
