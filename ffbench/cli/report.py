"""`python -m ffbench report`: one row a run, as md, csv, json or latex."""

import argparse
import sys
from pathlib import Path

from ffbench.cli.main import refuse


def main(arguments: list[str]) -> int:
    """Print the table; 0 when there are runs, 1 when there are none, 2 for bad input."""
    try:
        from analysis import load, tables
    except ImportError as error:
        return refuse([f"report: {error}; install it with: pip install 'ffbench[analysis]'"])
    parser = argparse.ArgumentParser(prog="python -m ffbench report", description=__doc__)
    parser.add_argument("run_keys", nargs="*", help="only these runs; all that are done where none is given")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--format", choices=tables.FORMATS, default="md")
    options = parser.parse_args(arguments)
    try:
        frame = load.runs(options.output_dir, options.run_keys or None)
    except load.LoadError as error:
        return refuse([str(error)])
    if frame.empty:
        print(f"no done runs in {options.output_dir}; start some with: python -m ffbench +sweep=sparsity",
              file=sys.stderr)
        return 1
    print(tables.report(frame.sort_values(["model", "sparsity", "selector", "compensator"]), options.format))
    return 0
