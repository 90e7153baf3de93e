"""`python -m ffbench compare RUN_A RUN_B`: two runs beside each other."""

import argparse
from pathlib import Path

from ffbench.cli.main import refuse


def main(arguments: list[str]) -> int:
    """Print the comparison; 0 when done, 2 for bad input."""
    try:
        from ffanalysis.compare import compare
        from ffanalysis.load import LoadError
    except ImportError as error:
        return refuse([f"compare: {error}; install it with: pip install 'ffbench[analysis]'"])
    parser = argparse.ArgumentParser(prog="python -m ffbench compare", description=__doc__)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    options = parser.parse_args(arguments)
    try:
        print(compare(options.output_dir, options.first, options.second))
    except LoadError as error:
        return refuse([str(error)])
    return 0
