"""`python -m ffbench compare RUN_A RUN_B`: two runs side by side."""

from pathlib import Path

from ffbench.cli.errors import DONE, import_problem, refuse
from ffbench.cli.options import Parser
from ffbench.cli.run_keys import full_keys


def main(arguments: list[str]) -> int:
    """Print the comparison; 0 when done, 2 for bad input."""
    parser = Parser("compare", __doc__)
    parser.add_argument("first", help="a run key, or its first digits")
    parser.add_argument("second", help="a run key, or its first digits")
    options = parser.parse(arguments)
    try:
        from ffanalysis.compare import compare
    except ImportError as error:
        return refuse([import_problem("compare", error)])
    first, second = full_keys(options.output_dir, [options.first, options.second])
    print(compare(Path(options.output_dir), first, second))
    return DONE
