"""Execute the notebooks on an output folder.

python -m ffanalysis.notebook_runner --output-dir outputs
"""

import sys
from pathlib import Path
from typing import Any

from ffanalysis import load
from ffanalysis.gallery import options_of, source_of
from ffanalysis.source import Source

SOURCES = Path(__file__).parent / "notebooks"
PARAMETERS = "parameters"


class NotebookError(RuntimeError):
    """A cell failed; the text names the notebook and the cell."""


def with_parameters(notebook: Any, source: Source, folder: Path) -> Any:
    """The notebook with this source's folders after the cell that is tagged `parameters`."""
    from nbformat.v4 import new_code_cell

    published = source.published.resolve() if source.published else None
    values = {
        "output_dir": str(source.output_dir.resolve()),
        "bench_dir": str((source.bench_dir or source.output_dir).resolve()),
        "published": str(published) if published else None,
        "folder": str(folder.resolve()),
    }
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    places = [
        place
        for place, cell in enumerate(notebook.cells)
        if PARAMETERS in cell.metadata.get("tags", [])
    ]
    notebook.cells.insert(places[0] + 1 if places else 0, new_code_cell("\n".join(lines)))
    return notebook


def execute(path: Path, source: Source, folder: Path) -> Path:
    """Run one py:percent notebook; returns the executed one, which is kept if a cell fails.

    Raises:
        NotebookError: a cell failed.

    """
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.stem}.ipynb"
    notebook = with_parameters(jupytext.read(path), source, folder)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(Path(__file__).parents[1])}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        place, first = failed_cell(notebook)
        raise NotebookError(
            f"{path.name}, cell {place} (`{first}`): {error.ename}: {error.evalue}; "
            f"the cells before it: {target}"
        ) from error
    finally:
        nbformat.write(notebook, target)
    return target


def failed_cell(notebook: Any) -> tuple[int, str]:
    """Place and first line of the cell that holds an error."""
    for place, cell in enumerate(notebook.cells):
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return place, (cell.source.strip().splitlines() or [""])[0]
    return 0, ""


def main() -> int:
    """0 when every notebook ran, 1 when a cell failed, 2 if there are no runs."""
    options = options_of("python -m ffanalysis.notebook_runner", __doc__)
    source = source_of(options)
    try:
        source.runs()
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = False
    for path in sorted(SOURCES.glob("*.py")):
        try:
            print(execute(path, source, options.to), flush=True)
        except NotebookError as error:
            failed = True
            print(f"failed: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
