"""Execute the notebooks on an output folder: python -m analysis.notebook_runner --output-dir outputs"""

import argparse
import sys
from pathlib import Path

from analysis import load

SOURCES = Path(__file__).parent / "notebooks"


class NotebookError(RuntimeError):
    """A cell failed; the text names the notebook and the cell."""


def execute(source: Path, output_dir: Path, folder: Path) -> Path:
    """Run one py:percent source with papermill; returns the executed notebook. Raises NotebookError."""
    import jupytext
    import papermill
    from papermill.exceptions import PapermillExecutionError

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}.ipynb"
    jupytext.write(jupytext.read(source), target)
    parameters = {"output_dir": str(output_dir.resolve()), "figures": str(folder.resolve())}
    try:
        papermill.execute_notebook(str(target), str(target), parameters=parameters, kernel_name="python3",
                                   language="python", progress_bar=False)
    except PapermillExecutionError as error:
        raise NotebookError(f"{source.name}, cell {error.cell_index}: {error.ename}: {error.evalue}") from error
    return target


def main() -> int:
    """0 when every notebook ran, 1 when a cell failed, 2 where there are no runs."""
    parser = argparse.ArgumentParser(prog="python -m analysis.notebook_runner", description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--to", type=Path, help="default: OUTPUT_DIR/plots")
    options = parser.parse_args()
    folder = options.to or options.output_dir / "plots"
    try:
        if load.runs(options.output_dir).empty:
            raise load.LoadError(f"no done runs in {options.output_dir}; start some with: "
                                 "python -m ffbench +sweep=sparsity")
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = False
    for source in sorted(SOURCES.glob("*.py")):
        try:
            print(execute(source, options.output_dir, folder))
        except NotebookError as error:
            failed = True
            print(f"failed: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
