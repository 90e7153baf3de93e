"""Keep README's tables and picture in step with the committed results.

python -m tools.docs.readme                                     rewrite README's generated part
(make readme)
python -m tools.docs.readme --take outputs                      first copy the done runs of that
folder
python -m tools.docs.readme --take outputs --into longbench     the same, as the LongBench runs
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

from ffanalysis import load, plots
from tools.docs import committed
from tools.docs.readme_sections import RESULTS, section

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- results: made by `make readme` -->", "<!-- end of results -->"


def take(output_dir: Path, target: Path) -> None:
    """Copy the small files of every done run, and the sweep lists, into the committed results.

    Raises LoadError where there are no done runs; what was committed before stays then.
    """
    found = load.results(output_dir)
    if not found:
        raise load.LoadError(load.NO_RUNS.format(output_dir))
    shutil.rmtree(target, ignore_errors=True)
    for folder, _ in found:
        committed.copy_run(folder, target / "runs" / folder.name)
    for file in sorted((output_dir / "sweeps").glob("*.json")):
        committed.copy_sweep(file, target / "sweeps")


def rewrite(root: Path) -> None:
    """Put tables and picture in. Raises LoadError where there is nothing to make them of, or no
    place for them.
    """
    readme = root / "README.md"
    text = readme.read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        raise load.LoadError(f"{readme}: needs the lines {START} and {END}, once each")
    made = section(root)
    plots.pareto(load.runs(root / RESULTS / "default"), root / "docs" / "pareto.svg")
    (root / "docs" / "pareto.png").unlink(missing_ok=True)
    before, rest = text.split(START)
    readme.write_text(f"{before}{START}\n{made}{END}{rest.split(END)[1]}")


def main() -> int:
    """0 when rewritten, 2 where there is nothing to make it of."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.docs.readme",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--take", type=Path, metavar="OUTPUT_DIR", help="first copy the done runs of this folder"
    )
    parser.add_argument(
        "--into",
        default="default",
        metavar="NAME",
        help="folder under benchmarks/results: default, longbench, or another that only the leaderboard shows",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", options.into):
        parser.error(f"--into: use letters, digits, _ and -, not {options.into!r}")
    try:
        if options.take:
            take(options.take, options.root / RESULTS / options.into)
        rewrite(options.root)
    except (load.LoadError, plots.NothingToDraw) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
