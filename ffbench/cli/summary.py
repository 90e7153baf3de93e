"""The end of a sweep: a table of its runs, the Pareto picture, failures, the next command."""

import shlex
from pathlib import Path
from typing import Any

from ffbench.cli.compose import Job
from ffbench.cli.launch import Failure
from ffbench.cli.pictures import draw_sweep
from ffbench.runs.store import RunStore

COLUMNS = (
    "sparsity",
    "selector",
    "compensator",
    "scheduler",
    "score",
    "loss (95% interval)",
    "rel. loss",
    "KL",
    "top-1",
    "ppl ratio",
    "FFN speedup",
    "TTFT speedup",
    "run",
)


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash if it was not measured."""
    return "-" if value is None else f"{value:.{digits}f}"


def row(result: dict[str, Any]) -> list[str]:
    """The cells of one run."""
    mean, speed = result["mean"] or {}, result["speed"] or {}
    fidelity = (result["fidelity"] or {}).get("mean", {})
    loss, relative = mean.get("loss_abs"), mean.get("loss_rel")
    interval = (
        "-"
        if loss is None
        else (f"{loss:.2f} ({mean['loss_abs_low']:.2f} to {mean['loss_abs_high']:.2f})")
    )
    return [
        f"{result['sparsity']:g}",
        result["selector"],
        result["compensator"],
        result["scheduler"],
        number(mean.get("score"), 2),
        interval,
        "-" if relative is None else f"{100 * relative:.1f}%",
        number(fidelity.get("kl")),
        number(fidelity.get("top1_agreement")),
        number(fidelity.get("ppl_ratio")),
        number(speed["ffn"]["ratio"] if speed else None, 2),
        number(speed["ttft"][0]["ratio"] if speed and speed["ttft"] else None, 2),
        result["run_key"],
    ]


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table, a row per run, columns of even width."""
    rows = [list(COLUMNS), *(row(result) for result in results)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(COLUMNS))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
        for cells in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def finish(output_dir: str, keys: list[str], name: str | None) -> None:
    """Print the table of the runs that are done, and draw them if there are several."""
    store = RunStore(output_dir)
    done = [key for key in dict.fromkeys(keys) if store.folder(key).state().state == "done"]
    if not done:
        return
    print(table([store.folder(key).result() for key in done]))
    if len(done) > 1:
        draw_sweep(output_dir, done, Path(output_dir) / "plots" / f"{name or 'runs'}.png")


def next_commands(output_dir: str, keys: list[str]) -> str:
    """The command that shows more of what was just run."""
    folder = "" if output_dir == "outputs" else f" --output-dir {shlex.quote(output_dir)}"
    if len(set(keys)) == 2:
        return f"next: python -m ffbench compare{folder} {' '.join(dict.fromkeys(keys))}"
    return f"next: python -m ffbench report{folder} --format html"


def failures(
    output_dir: str, jobs: dict[str, Job], failed: dict[str, Failure], before: int
) -> list[str]:
    """A line per failed job with its folder, overrides and reason, and the totals; nothing if all
    went well.

    Starting again is advised only if it can help.
    """
    if not failed:
        return []
    if all(failure.permanent for failure in failed.values()):
        return [
            *(f"error: {failure.reason}" for failure in dict.fromkeys(failed.values())),
            f"{len(failed)} of {len(jobs)} runs cannot start as they are set, "
            f"{len(jobs) - len(failed)} done, {before} were done before",
        ]
    rows = [
        f"failed: {output_dir}/runs/{key}  {' '.join(jobs[key].overrides) or 'defaults'}\n"
        f"        {failure.reason}"
        for key, failure in failed.items()
    ]
    total = (
        f"{len(failed)} of {len(jobs)} runs failed, {len(jobs) - len(failed)} done, {before} were "
        "done before"
    )
    return [*rows, f"{total}; the same command resumes"]
