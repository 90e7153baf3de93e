"""`python -m ffbench report`: one row per run, as md, csv, json or latex, or everything as one
html page.
"""

import argparse
import sys
from pathlib import Path

from ffbench.cli.errors import DONE, FAILED, import_problem, refuse
from ffbench.cli.options import Parser, expanded
from ffbench.cli.run_keys import full_keys
from ffbench.runs.files import make_folder, write_atomic

FORMATS = ("md", "csv", "json", "latex", "html")
BY = ("run", "task", "length", "layer", "seed", "load")
PUBLISHED = "benchmarks/results"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    parser = Parser("report", __doc__)
    parser.add_argument(
        "run_keys",
        nargs="*",
        help="only these runs, first digits are enough; all that are done if none is given",
    )
    parser.add_argument("--format", choices=FORMATS, default="md")
    parser.add_argument(
        "--by",
        choices=BY,
        default="run",
        help="one row per run (default), or per task, length or layer; `seed` shows every seed; "
        "`load` shows what serve-bench measured",
    )
    parser.add_argument(
        "--to",
        type=expanded,
        metavar="FILE",
        help="write to this file (default: the terminal; OUTPUT_DIR/report.html for html)",
    )
    parser.add_argument(
        "--bench-dir",
        type=expanded,
        metavar="FOLDER",
        help="for html and --by load: the folder of serve.jsonl, kernels.jsonl, speed.jsonl, "
        "union.jsonl and selectors.jsonl (default: the output folder)",
    )
    parser.add_argument(
        "--with-published",
        type=expanded,
        nargs="?",
        const=PUBLISHED,
        metavar="FOLDER",
        help="for html and --by load: show committed benchmark lines too, marked as published "
        f"(default folder: {PUBLISHED})",
    )
    return parser.parse(arguments)


def main(arguments: list[str]) -> int:
    """Print or write the report; 0 when there are runs, 1 when there are none, 2 for bad input."""
    options = parse(arguments)
    try:
        from ffanalysis import load
        from ffanalysis.report import render
        from ffanalysis.source import Source
    except ImportError as error:
        return refuse([import_problem("report", error)])
    keys = full_keys(options.output_dir, options.run_keys)
    bench_dir, published = (
        Path(folder) if folder else None for folder in (options.bench_dir, options.with_published)
    )
    source = Source(Path(options.output_dir), bench_dir, keys or None, published)
    of_servers = options.by == "load" and options.format != "html"  # they are no runs
    if not of_servers and source.frame("runs").empty:
        print(load.NO_RUNS.format(options.output_dir), file=sys.stderr)
        return FAILED
    text = render(source, options.format, options.by)
    target = options.to or (
        f"{options.output_dir}/report.html" if options.format == "html" else None
    )
    if target is None:
        print(text.rstrip("\n"))
        return DONE
    if Path(target).is_dir():
        return refuse([f"--to: {target} is a folder; give a file"])
    make_folder(Path(target).parent)
    write_atomic(Path(target), text)
    print(target)
    return DONE
