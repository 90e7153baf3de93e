"""Every figure and table that the runs of an output folder can feed: python -m ffanalysis.figures
--output-dir outputs
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ffanalysis import benches, load, plots, tables

BENCHES = Path("benchmarks/results")
READERS: dict[str, Callable[..., pd.DataFrame]] = {
    "runs": load.runs,
    "tasks": load.tasks,
    "groups": load.groups,
    "layers": load.layers,
    "timings": load.timings,
    "kernels": benches.kernels,
    "speeds": benches.speeds,
    "unions": benches.unions,
    "selections": benches.selections,
}
OF_BENCHES = ("kernels", "speeds", "unions", "selections")


@dataclass
class Source:
    """Where the frames come from: run folders (all, or `run_keys`), and the folder of the
    benchmarks' lines.

    Each frame is read once.
    """

    output_dir: Path
    bench_dir: Path = BENCHES
    run_keys: Sequence[str] | None = None
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def frame(self, name: str) -> pd.DataFrame:
        """One frame of docs/frames.md. Raises LoadError."""
        if name not in self._frames:
            read = READERS[name]
            self._frames[name] = (
                read(self.bench_dir) if name in OF_BENCHES else read(self.output_dir, self.run_keys)
            )
        return self._frames[name]

    def runs(self) -> pd.DataFrame:
        """The frame of runs. Raises LoadError where there are none, with the command that starts
        some.
        """
        frame = self.frame("runs")
        if frame.empty:
            raise load.LoadError(load.NO_RUNS.format(self.output_dir))
        return frame


@dataclass(frozen=True)
class Figure:
    """A figure: what draws it, of which frames, and what to see in it."""

    draw: Callable[..., None]
    frames: tuple[str, ...]
    caption: str


FIGURES = {
    "pareto": Figure(
        plots.pareto,
        ("runs",),
        "What a speedup costs. Lower right is better; the line joins runs that no other beats.",
    ),
    "loss_by_sparsity": Figure(
        plots.loss_by_sparsity,
        ("runs",),
        "Loss grows with the share of neurons skipped; lower is better.",
    ),
    "speed_by_length": Figure(
        plots.speed_by_length,
        ("timings",),
        "Below its break-even length a plan costs more than it saves.",
    ),
    "speed_by_shape": Figure(
        plots.speed_by_shape,
        ("speeds",),
        "The same at the shapes of published models, random weights.",
    ),
    "block_size": Figure(
        plots.block_size,
        ("runs",),
        "Larger blocks share one set among more tokens: faster kernels, more loss.",
    ),
    "tasks": Figure(
        plots.task_scores,
        ("tasks",),
        "Bars that reach the dense line: no loss shown with this many records.",
    ),
    "longbench": Figure(
        plots.longbench,
        ("tasks", "groups"),
        "Bars that cross 0: no loss shown with this many records.",
    ),
    "length_buckets": Figure(plots.length_buckets, ("groups",), "Whether long records lose more."),
    "layer_recall": Figure(
        plots.layer_recall,
        ("layers",),
        "1 means the block oracle's neurons; energy counts more than recall.",
    ),
    "layer_density": Figure(
        plots.layer_density, ("layers",), "Where each scheduler spends the same budget."
    ),
    "union": Figure(
        plots.union,
        ("unions",),
        "How far block-wise sparsity can go: tokens of a block want different neurons.",
    ),
    "kernel_speedups": Figure(
        plots.kernel_speedups, ("kernels",), "The sparse FFN alone against three dense ones."
    ),
    "roofline": Figure(
        plots.roofline, ("kernels",), "How near the kernels come to what the processor can do."
    ),
}


def draw(name: str, source: Source, folder: Path) -> Path:
    """Draw one figure; returns the PNG's path (the SVG lies beside it). Raises NothingToDraw and
    LoadError.
    """
    figure, path = FIGURES[name], folder / f"{name}.png"
    figure.draw(*(source.frame(frame) for frame in figure.frames), path)
    return path


def draw_all(source: Source, folder: Path, forget: bool = True) -> tuple[list[str], dict[str, str]]:
    """Draw what the runs can feed: names drawn, and name -> reason of the others (older pictures of
    them go).
    """
    drawn, left_out = [], {}
    for name in FIGURES:
        try:
            draw(name, source, folder)
            drawn.append(name)
        except plots.NothingToDraw as reason:
            left_out[name] = str(reason)
            for ending in (".png", ".svg") if forget else ():
                (folder / name).with_suffix(ending).unlink(missing_ok=True)
    return drawn, left_out


def make(source: Source, folder: Path) -> list[str]:
    """Write figures and tables into `folder`; returns a line for each, those that could not be made
    included.

    Raises LoadError where there are no runs.
    """
    frame = source.runs()
    folder.mkdir(parents=True, exist_ok=True)
    drawn, left_out = draw_all(source, folder)
    lines = [f"{folder / name}.png and .svg" for name in drawn]
    for name, text in tables.all_tables(frame, source.frame("tasks")).items():
        (folder / name).write_text(text + "\n")
        lines.append(str(folder / name))
    return lines + [f"{name}: not drawn: {reason}" for name, reason in left_out.items()]


def options_of(program: str, about: str | None) -> argparse.Namespace:
    """The command line of `make plots`' programs."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="holds the run folders"
    )
    parser.add_argument(
        "--bench-dir",
        type=Path,
        default=BENCHES,
        help="holds kernels.jsonl, speed.jsonl, union.jsonl",
    )
    parser.add_argument("--to", type=Path, help="default: OUTPUT_DIR/plots")
    options = parser.parse_args()
    options.to = options.to or options.output_dir / "plots"
    return options


def main() -> int:
    """0 when made, 2 where there is nothing to make them of."""
    options = options_of("python -m ffanalysis.figures", __doc__)
    try:
        print("\n".join(make(Source(options.output_dir, options.bench_dir), options.to)))
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
