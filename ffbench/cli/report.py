"""`python -m ffbench report`: one row per run, as md, csv, json or latex, or everything as one
html page.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ffbench.cli.errors import DONE, FAILED, import_problem, refuse
from ffbench.cli.options import Parser, expanded
from ffbench.cli.run_keys import full_keys
from ffbench.runs.files import make_folder, write_atomic

FORMATS = ("md", "csv", "json", "latex", "html")


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
        "--to",
        type=expanded,
        metavar="FILE",
        help="write to this file (default: the terminal; OUTPUT_DIR/report.html for html)",
    )
    parser.add_argument(
        "--bench-dir",
        type=expanded,
        default="benchmarks/results",
        help="for html: the folder of kernels.jsonl, speed.jsonl and union.jsonl",
    )
    return parser.parse(arguments)


def render(options: argparse.Namespace, keys: list[str], frame: Any) -> str:
    """The report as text."""
    from ffanalysis import tables

    if options.format != "html":
        return tables.report(frame, options.format) + "\n"
    from ffanalysis.figures import Source
    from ffanalysis.page import build

    return build(Source(Path(options.output_dir), Path(options.bench_dir), keys or None))


def main(arguments: list[str]) -> int:
    """Print or write the report; 0 when there are runs, 1 when there are none, 2 for bad input."""
    options = parse(arguments)
    try:
        from ffanalysis import load
    except ImportError as error:
        return refuse([import_problem("report", error)])
    keys = full_keys(options.output_dir, options.run_keys)
    frame = load.runs(Path(options.output_dir), keys or None)
    if frame.empty:
        print(load.NO_RUNS.format(options.output_dir), file=sys.stderr)
        return FAILED
    text = render(options, keys, frame)
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
