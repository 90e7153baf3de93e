"""Execute the notebooks on an output folder: python -m ffanalysis.notebook_runner --output-dir
outputs
"""

import sys
from pathlib import Path

from ffanalysis import load
from ffanalysis.figures import Source, options_of

SOURCES = Path(__file__).parent / "notebooks"


class NotebookError(RuntimeError):
    """A cell failed; the text names the notebook and the cell."""


def execute(source: Path, output_dir: Path, bench_dir: Path, folder: Path) -> Path:
    """Run one py:percent source with papermill; returns the executed notebook. Raises
    NotebookError.

    The notebook as far as it came stays in `folder` when a cell fails.
    """
    import jupytext
    import papermill
    from papermill.exceptions import PapermillExecutionError

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}.ipynb"
    notebook = jupytext.read(source)
    jupytext.write(notebook, target)
    parameters = {
        "output_dir": str(output_dir.resolve()),
        "bench_dir": str(bench_dir.resolve()),
        "folder": str(folder.resolve()),
    }
    try:
        papermill.execute_notebook(
            str(target),
            str(target),
            parameters=parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=str(Path(__file__).parents[1]),
        )
    except PapermillExecutionError as error:
        first = (error.source.strip().splitlines() or [""])[0]
        raise NotebookError(
            f"{source.name}, cell {error.cell_index} (`{first}`): {error.ename}: {error.evalue}; "
            f"as far as it came: {target}"
        ) from error
    return target


def main() -> int:
    """0 when every notebook ran, 1 when a cell failed, 2 where there are no runs."""
    options = options_of("python -m ffanalysis.notebook_runner", __doc__)
    try:
        Source(options.output_dir).runs()
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = False
    for source in sorted(SOURCES.glob("*.py")):
        try:
            print(execute(source, options.output_dir, options.bench_dir, options.to), flush=True)
        except NotebookError as error:
            failed = True
            print(f"failed: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
