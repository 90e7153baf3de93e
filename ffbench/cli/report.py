"""`python -m ffbench report`: one row per run, as md, csv, json or latex, or everything as one html
page.
"""

import argparse
import sys
from pathlib import Path

from ffbench.cli.main import refuse

FORMATS = ("md", "csv", "json", "latex", "html")
BY = ("run", "task", "length", "layer", "seed")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m ffbench report", description=__doc__)
    parser.add_argument(
        "run_keys", nargs="*", help="only these runs; all finished ones if none is given"
    )
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--format", choices=FORMATS, default="md")
    parser.add_argument(
        "--by",
        choices=BY,
        default="run",
        help="one row per run (default), or per task, length or layer; `seed` shows every seed",
    )
    parser.add_argument(
        "--to",
        type=Path,
        help="write to this file (default: the terminal; OUTPUT_DIR/report.html for html)",
    )
    parser.add_argument(
        "--bench-dir",
        type=Path,
        help="for html: the folder of kernels.jsonl, speed.jsonl, union.jsonl and selectors.jsonl "
        "(default: the output folder)",
    )
    parser.add_argument(
        "--with-published",
        type=Path,
        nargs="?",
        const=Path("benchmarks/results"),
        metavar="FOLDER",
        help="for html: show committed benchmark lines too, marked as published "
        "(default folder: benchmarks/results)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Print or write the report; 0 when there are runs, 1 when there are none, 2 for bad input."""
    try:
        from ffanalysis import load
        from ffanalysis.report import render
        from ffanalysis.source import Source
    except ImportError as error:
        return refuse([f"report: {error}; install it with: pip install 'ffbench[analysis]'"])
    options = parse(arguments)
    try:
        source = Source(
            options.output_dir,
            options.bench_dir,
            options.run_keys or None,
            options.with_published,
        )
        if source.frame("runs").empty:
            print(load.NO_RUNS.format(options.output_dir), file=sys.stderr)
            return 1
        text = render(source, options.format, options.by)
        target = options.to or (
            options.output_dir / "report.html" if options.format == "html" else None
        )
        if target:
            target.write_text(text)
    except load.LoadError as error:
        return refuse([str(error)])
    except OSError as error:
        return refuse(
            [f"cannot write {error.filename}: {error.strerror}; choose another file with --to"]
        )
    print(target or text.rstrip("\n"))
    return 0
