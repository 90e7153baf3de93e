"""`python -m ffbench report`: one row a run, as md, csv, json or latex, or everything as one html
page.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ffbench.cli.main import refuse

FORMATS = ("md", "csv", "json", "latex", "html")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m ffbench report", description=__doc__)
    parser.add_argument(
        "run_keys", nargs="*", help="only these runs; all that are done where none is given"
    )
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--format", choices=FORMATS, default="md")
    parser.add_argument(
        "--to",
        type=Path,
        help="write to this file (default: the terminal; OUTPUT_DIR/report.html for html)",
    )
    parser.add_argument(
        "--bench-dir",
        type=Path,
        default=Path("benchmarks/results"),
        help="for html: the folder of kernels.jsonl, speed.jsonl and union.jsonl",
    )
    return parser.parse_args(arguments)


def render(options: argparse.Namespace, frame: Any) -> str:
    """The report as text."""
    from ffanalysis import tables

    if options.format != "html":
        return tables.report(frame, options.format) + "\n"
    from ffanalysis.figures import Source
    from ffanalysis.page import build

    return build(Source(options.output_dir, options.bench_dir, options.run_keys or None))


def main(arguments: list[str]) -> int:
    """Print or write the report; 0 when there are runs, 1 when there are none, 2 for bad input."""
    try:
        from ffanalysis import load
    except ImportError as error:
        return refuse([f"report: {error}; install it with: pip install 'ffbench[analysis]'"])
    options = parse(arguments)
    try:
        frame = load.runs(options.output_dir, options.run_keys or None)
        if frame.empty:
            print(load.NO_RUNS.format(options.output_dir), file=sys.stderr)
            return 1
        text = render(options, frame)
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
