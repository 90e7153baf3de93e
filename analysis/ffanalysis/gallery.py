"""Every picture and table that the runs of an output folder can feed.

python -m ffanalysis.gallery --output-dir outputs
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ffanalysis import load, plots
from ffanalysis.report import all_tables
from ffanalysis.source import Source

PUBLISHED = Path("benchmarks/results")


@dataclass(frozen=True)
class Picture:
    """A picture: what draws it, from which frames, and what to see in it."""

    draw: Callable[..., None]
    frames: tuple[str, ...]
    caption: str


PICTURES = {
    "pareto": Picture(
        plots.pareto,
        ("runs",),
        "What a speedup costs. Lower right is better; a line joins runs that no other beats.",
    ),
    "loss_by_sparsity": Picture(
        plots.loss_by_sparsity,
        ("runs",),
        "Loss grows with the share of neurons skipped; lower is better.",
    ),
    "speed_by_length": Picture(
        plots.speed_by_length,
        ("timings",),
        "Below the length where its line crosses 1, a plan costs more than it saves.",
    ),
    "speed_by_shape": Picture(
        plots.speed_by_shape,
        ("speeds",),
        "TTFT speedup at the shapes of published models, with random weights.",
    ),
    "block_size": Picture(
        plots.block_size,
        ("runs",),
        "Larger blocks share one set among more tokens: faster kernels, more loss.",
    ),
    "tasks": Picture(
        plots.task_scores,
        ("tasks",),
        "Where a bar reaches the dense line, no loss was shown with this many records.",
    ),
    "longbench": Picture(
        plots.longbench,
        ("tasks", "groups"),
        "Where a bar crosses 0, no loss was shown with this many records.",
    ),
    "length_buckets": Picture(plots.length_buckets, ("groups",), "Whether long records lose more."),
    "layer_recall": Picture(
        plots.layer_recall,
        ("layers",),
        "1 means the block oracle's neurons; energy counts more than recall.",
    ),
    "layer_density": Picture(
        plots.layer_density, ("layers",), "Where each scheduler spends the same budget."
    ),
    "token_overlap": Picture(
        plots.token_overlap,
        ("overlaps",),
        "How far block-wise sparsity can go: tokens of a block want different neurons.",
    ),
    "kernel_speedups": Picture(
        plots.kernel_speedups, ("kernels",), "The sparse FFN alone against three dense ones."
    ),
    "roofline": Picture(
        plots.roofline, ("kernels",), "How near the kernels come to what the processor can do."
    ),
}


def draw(name: str, source: Source, folder: Path) -> Path:
    """Draw one picture as NAME.png and NAME.svg; returns the PNG's path.

    Raises:
        NothingToDraw: the runs lack what it needs; the text has a command.
        LoadError: a file cannot be read.

    """
    picture, path = PICTURES[name], folder / f"{name}.png"
    picture.draw(*(with_task_settings(source, frame) for frame in picture.frames), path)
    return path


def with_task_settings(source: Source, name: str) -> pd.DataFrame:
    """A frame, those of tasks with the settings that only config.json has: answers to prompts of
    several lengths are never one line.
    """
    frame = source.frame(name)
    if name not in ("tasks", "groups"):
        return frame
    runs = source.frame("runs")
    more = [column for column in ("task.max_length", "task.seed") if column in runs]
    return frame.merge(runs[["run_key", *more]], on="run_key", how="left") if more else frame


def draw_all(source: Source, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Draw what the runs can feed: names drawn, and name -> reason of the others, whose older
    pictures are removed.
    """
    drawn, left_out = [], {}
    for name in PICTURES:
        try:
            draw(name, source, folder)
            drawn.append(name)
        except plots.NothingToDraw as reason:
            left_out[name] = str(reason)
            for ending in (".png", ".svg"):
                (folder / name).with_suffix(ending).unlink(missing_ok=True)
    return drawn, left_out


def make(source: Source, folder: Path) -> list[str]:
    """Write pictures and tables into `folder`; returns a line for each, with the reason of those
    that could not be made.

    Raises:
        LoadError: there are no runs.

    """
    source.runs()
    folder.mkdir(parents=True, exist_ok=True)
    drawn, left_out = draw_all(source, folder)
    lines = [f"{folder / name}.png and .svg" for name in drawn]
    for name, text in all_tables(source).items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
        lines.append(str(folder / name))
    return lines + [f"{name}: not drawn: {reason}" for name, reason in left_out.items()]


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what is read."""
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="holds the run folders"
    )
    parser.add_argument(
        "--bench-dir",
        type=Path,
        help="holds kernels.jsonl, speed.jsonl, serve.jsonl, union.jsonl and selectors.jsonl "
        "(default: the output folder)",
    )
    parser.add_argument(
        "--with-published",
        type=Path,
        nargs="?",
        const=PUBLISHED,
        metavar="FOLDER",
        help=f"show committed lines too, marked as published (default folder: {PUBLISHED})",
    )


def source_of(options: argparse.Namespace) -> Source:
    """The source that the options of `add_source_options` name."""
    keys = getattr(options, "run_keys", None) or None
    return Source(options.output_dir, options.bench_dir, keys, options.with_published)


def options_of(program: str, about: str | None) -> argparse.Namespace:
    """The command line of `make plots`' programs."""
    parser = argparse.ArgumentParser(
        prog=program, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_source_options(parser)
    parser.add_argument("--to", type=Path, help="default: OUTPUT_DIR/plots")
    options = parser.parse_args()
    options.to = options.to or options.output_dir / "plots"
    return options


def main() -> int:
    """0 when made, 2 if there is nothing to make them of."""
    options = options_of("python -m ffanalysis.gallery", __doc__)
    try:
        print("\n".join(make(source_of(options), options.to)))
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
