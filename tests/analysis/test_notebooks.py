"""The notebooks are executed on the recordings; a failing cell is named."""

from pathlib import Path

import pytest

from ffanalysis import notebook_runner
from ffanalysis.gallery import PICTURES
from ffanalysis.notebook_runner import SOURCES, NotebookError, execute
from ffanalysis.source import Source


@pytest.mark.parametrize("name", [path.name for path in sorted(SOURCES.glob("*.py"))])
def test_notebooks_run_on_recorded_runs(recorded: Path, tmp_path: Path, name: str) -> None:
    text = execute(SOURCES / name, Source(recorded), tmp_path).read_text()
    shown = (SOURCES / name).read_text().count('show("')
    assert text.count("image/png") == shown and "not drawn" not in text
    assert repr(str(recorded.resolve())) in text  # the injected folder


def test_every_picture_is_in_one_notebook() -> None:
    sources = [path.read_text() for path in SOURCES.glob("*.py")]
    assert all(sum(source.count(f'show("{name}"') for source in sources) == 1 for name in PICTURES)


def test_a_failing_cell_is_named_and_fails_the_target(
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.py").write_text(
        '# %% tags=["parameters"]\noutput_dir = folder = ""\n\n# %%\nvalue = 1 / 0\n'
    )
    with pytest.raises(
        NotebookError,
        match=r"broken.py, cell 2 \(`value = 1 / 0`\): ZeroDivisionError: division by zero",
    ):
        execute(tmp_path / "broken.py", Source(recorded), tmp_path / "out")
    monkeypatch.setattr(notebook_runner, "SOURCES", tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["x", "--output-dir", str(recorded), "--to", str(tmp_path / "out")]
    )
    assert notebook_runner.main() == 1 and "value = 1 / 0" in capsys.readouterr().err


def test_no_runs_are_refused_before_anything_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["x", "--output-dir", str(tmp_path / "none")])
    assert notebook_runner.main() == 2 and "+sweep=sparsity" in capsys.readouterr().err
