"""Keep docs/longbench.md's table in step with the committed results: python -m
tools.docs.longbench_table [--take outputs]
"""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffanalysis import load
from tools.docs import committed

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "longbench"
PAGE = ROOT / "docs" / "longbench.md"
START, END = (
    "<!-- results: made by `python -m tools.docs.longbench_table` -->",
    "<!-- end of results -->",
)
PLACES = ("output_dir=", "tracker=")  # words of a command that change no result
NEEDED = ("data", "categories", "buckets", "mean")


@dataclass(frozen=True)
class Run:
    """A done run on LongBench records with what it was started with."""

    result: dict[str, Any]
    config: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def label(self) -> str:
        """Sparsity and protocol."""
        protocol = "" if self.result["protocol"] == "whole" else f", {self.result['protocol']}"
        return f"{100 * self.result['sparsity']:g}%{protocol}"

    @property
    def prompts(self) -> str:
        """Model and scored prompts: runs that differ here are never set beside each other."""
        task = self.config["task"]
        return repr(
            [
                self.result["model"],
                self.result["dtype"],
                self.result["data"],
                [(name, figures["n"]) for name, figures in self.result["tasks"].items()],
                task["max_length"],
                task["batch_size"],
            ]
        )

    @property
    def method(self) -> str:
        """What chose, compensated and shared out the neurons, and what is not as it is by
        default.
        """
        method = "/".join(
            str(self.result[name]) for name in ("selector", "compensator", "scheduler")
        )
        similar = ", blocks of similar tokens" if self.result.get("blocks") == "similar" else ""
        text = self.result.get("calibration_text") or "embedded"
        return method + similar + (f", fitted on own text ({text})" if text != "embedded" else "")


def longbench_runs(output_dir: Path) -> list[Run]:
    """Done runs on LongBench records: by prompts, dense first, then by method, protocol and
    sparsity.
    """
    found = [
        Run(result, load.read(folder / "config.json"), load.read(folder / "provenance.json"))
        for folder, result in load.results(output_dir)
        if result.get("data")
    ]
    for run in found:
        missing = [name for name in NEEDED if name not in run.result]
        if missing:
            raise load.LoadError(
                f"run {run.result['run_key']}: missing {', '.join(missing)}; run it again"
            )
    return sorted(
        found,
        key=lambda run: (
            run.prompts,
            run.result["sparsity"] > 0,
            run.method,
            run.result["protocol"],
            run.result["sparsity"],
        ),
    )


def take(output_dir: Path) -> None:
    """Copy the small files of every done LongBench run into the committed results."""
    keys = [run.result["run_key"] for run in longbench_runs(output_dir)]
    if not keys:
        raise load.LoadError(f"{output_dir}: no done run on LongBench records")
    shutil.rmtree(RESULTS / "runs", ignore_errors=True)
    for key in keys:
        committed.copy_run(Path(output_dir) / "runs" / key, RESULTS / "runs" / key)


def span(figures: dict[str, Any], name: str, digits: int) -> str:
    """A change with its interval."""
    value, low, high = (figures[name + end] for end in ("", "_low", "_high"))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def relative(figures: dict[str, Any], name: str) -> str:
    """A relative change with its interval in percent; a dash where the dense figure is 0."""
    value, low, high = (figures[name + end] for end in ("", "_low", "_high"))
    return "-" if value is None else f"{100 * value:.0f}% ({100 * low:.0f} to {100 * high:.0f})"


def rows_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Table rows by name: tasks, flagged ones marked, then categories, length buckets and the
    overall mean.
    """
    rows = {
        f"`{name}`" + ("" if figures["headline"] else " (not in the means)"): figures
        for name, figures in result["tasks"].items()
    }
    rows |= {f"mean, {name}": figures for name, figures in result["categories"].items() if figures}
    rows |= {
        f"mean, LongBench-E {name} words": figures
        for name, figures in (result["buckets"] or {}).items()
        if figures
    }
    return rows | {"**mean**": result["mean"]}


def table(runs: list[Run]) -> str:
    """One row a task, category, bucket and mean; the sparse runs side by side."""
    sparse = [run for run in runs if run.result["sparsity"] > 0]
    head = ["", "n", "cut", "dense"] + [
        f"{run.label}: {what}" for run in sparse for what in ("loss, points", "loss, relative")
    ]
    head += ["NLL dense"] + [f"{run.label}: NLL change" for run in sparse]
    lines = [head, ["---"] * len(head)]
    rows = [rows_of(run.result) for run in (sparse or runs)]
    for name, first in rows[0].items():
        cut = str(first["truncated"]) if "truncated" in first else ""
        cells = [name, str(first["n"]), cut, f"{first['score_dense']:.1f}"]
        for row in rows if sparse else []:
            cells += [span(row[name], "loss_abs", 1), relative(row[name], "loss_rel")]
        cells += [f"{first['nll_dense']:.3f}"] + [
            relative(row[name], "nll_gain_rel") for row in rows if sparse
        ]
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def conditions(runs: list[Run]) -> str:
    """What was run where."""
    last, task = runs[-1], runs[-1].config["task"]
    commands = dict.fromkeys(
        " ".join(
            word for word in run.provenance.get("command") or [] if not word.startswith(PLACES)
        )
        for run in runs
    )
    places = dict.fromkeys(
        f"{run.provenance.get('cpu')}, {run.provenance.get('threads', {}).get('torch')} threads, git {str(run.provenance.get('git_sha'))[:10]}"
        for run in runs
    )
    density = "; ".join(
        f"{run.label} {min(t['density_used'] for t in run.result['tasks'].values()):.2f} to "
        f"{max(t['density_used'] for t in run.result['tasks'].values()):.2f}"
        for run in runs
        if run.result["sparsity"] > 0
    )
    data = last.result["data"]
    return (
        f"{data[0].upper()}{data[1:]}, {task['limit'] or 'all'} records a task, evenly spaced over the lengths, at most "
        f"{task['max_length']} tokens for prompt and answer, batch size {task['batch_size']}. {last.result['model']}, "
        f"{last.result['dtype']}; selector/compensator/scheduler {last.method}, block size "
        f"{last.result['block_size']}. FFN density really used in the prompts, lowest to highest task: "
        f"{density or '1'}. "
        f"Machine: {'; '.join(places)}. Commands: {', '.join(f'`{one}`' for one in commands if one)}. "
        "`cut`: prompts shortened. Brackets: 95% paired bootstrap over records."
    )


def sections(runs: list[Run]) -> str:
    """One table a set of prompts and method, beside the dense run of the same prompts."""
    parts = []
    for prompts in dict.fromkeys(run.prompts for run in runs):
        same = [run for run in runs if run.prompts == prompts]
        dense = [run for run in same if not run.result["sparsity"]]
        for method in dict.fromkeys(run.method for run in same if run not in dense) or [None]:
            chosen = dense + [run for run in same if run not in dense and run.method == method]
            parts += [table(chosen), "", conditions(chosen), ""]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the generated part of docs/longbench.md; 2 where there is nothing to make it of."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.docs.longbench_table", description=__doc__
    )
    parser.add_argument(
        "--take", type=Path, help="first copy the done LongBench runs of this output folder"
    )
    options = parser.parse_args(arguments)
    try:
        if options.take:
            take(options.take)
        runs = longbench_runs(RESULTS)
        if not runs:
            raise load.LoadError(f"{RESULTS}: no runs; give --take OUTPUT_DIR")
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    before, rest = PAGE.read_text().split(START)
    PAGE.write_text(f"{before}{START}\n{sections(runs)}{END}{rest.split(END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
