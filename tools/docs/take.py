"""Copy the small files of finished runs into the committed results, without machine paths.

python -m tools.docs.take outputs                       into benchmarks/results/default
python -m tools.docs.take outputs --into longbench      another set; the leaderboard shows them all

The set is replaced. Then run: python -m tools.docs.sections --write
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ffanalysis import load
from ffanalysis.run_folders import results
from tools.docs import committed

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("benchmarks") / "results"
NAME = re.compile(r"[A-Za-z0-9_-]+")


def take(output_dir: Path, target: Path) -> int:
    """Replace the folder `target` by the finished runs and sweep lists of `output_dir`; returns the
    number of runs.

    Raises:
        LoadError: there are no finished runs, or one cannot be read; `target` is kept then.
        OSError: a file of a run is missing; `target` is kept then, too.

    """
    runs = list(results(output_dir))
    if not runs:
        raise load.LoadError(load.NO_RUNS.format(output_dir))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        for folder, _ in runs:
            committed.copy_run(folder, made / "runs" / folder.name)
        for file in sorted((output_dir / "sweeps").glob("*.json")):
            committed.copy_sweep(file, made / "sweeps")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return len(runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when taken, 2 if there is nothing to take."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.docs.take",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output_dir", type=Path, help="holds the run folders")
    parser.add_argument("--into", default="default", metavar="NAME", help="default: default")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    if not NAME.fullmatch(options.into):
        parser.error(f"--into: use letters, digits, _ and -, not {options.into!r}")
    target = options.root / RESULTS / options.into
    try:
        count = take(options.output_dir, target)
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{count} runs in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
