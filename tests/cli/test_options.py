"""Options and settings in any order, help, --cfg, --info, --config-dir, completion, prefixes."""

import subprocess
from pathlib import Path

import pytest
import yaml

from ffbench import __version__
from ffbench.cli import help as help_text
from ffbench.cli import run, speed
from ffbench.cli.compose import jobs_of
from ffbench.cli.errors import UsageError
from ffbench.cli.main import VERBS, main
from ffbench.cli.run_keys import full_keys
from ffbench.runs.store import RunStore


def test_options_and_settings_in_any_order() -> None:
    orders = [
        ["--json", "sparsity=0.5", "--plan", "p", "output_dir=o"],
        ["sparsity=0.5", "plan=p", "output_dir=o", "--json"],
        ["plan=p", "--json", "sparsity=0.5", "--output-dir", "o"],
    ]
    asked = [speed.parse(order) for order in orders]
    assert {(one.shape, one.plan, one.json) for one in asked} == {(None, Path("p"), True)}
    assert asked[0].overrides == asked[1].overrides == ["sparsity=0.5", "output_dir=o"]
    assert asked[2].overrides == ["sparsity=0.5", "output_dir='o'"]
    for order in (["--dry-run", "a=1", "-m"], ["a=1", "-m", "--dry-run"]):
        options = run.parse(order)
        assert options.dry_run and options.settings == ["a=1"]


def test_every_command_takes_output_dir_both_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for words in (["--output-dir", str(tmp_path)], [f"output_dir={tmp_path}"]):
        assert main(["status", *words]) == 0
        assert str(tmp_path) in capsys.readouterr().out


def test_nothing_to_do_prints_the_help_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    text = capsys.readouterr().out
    assert main(["--help"]) == 0 and capsys.readouterr().out == text
    assert not list(tmp_path.iterdir())
    assert all(f"  {verb} " in text for verb in VERBS)
    assert text.count("  python -m ffbench ") == 5 == len(help_text.EXAMPLES)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["sparsity"][0] == "0.5" and rows["output_dir"][0] == "outputs"
    assert rows["tracker.mode"][:2] == ["auto", "auto,"] and rows["task.data_dir"][0] == "null"


def test_the_examples_compose() -> None:
    for text, _ in help_text.EXAMPLES:
        words = [word for word in text.split() if not word.startswith("--")]
        if words[0] not in VERBS:
            assert jobs_of(words)


def test_version_and_info(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0 and capsys.readouterr().out == f"ffbench {__version__}\n"
    assert main(["--info"]) == 0
    text = capsys.readouterr().out
    assert "configuration" in text and "local" in text


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a model of one's own and a sweep that uses it."""
    for name, text in {
        "model/mine.yaml": "name: mine\nsource: tiny\nlocation: qwen2\n",
        "sweep/own.yaml": "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 1,2\n",
    }.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path / "own"


def test_ones_own_configuration_folder(own: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["model=mine", "+sweep=own", "--cfg", "job"]
    assert main(["--config-dir", str(own), *words]) == 0
    parts = [yaml.safe_load(part) for part in capsys.readouterr().out.split("---\n")]
    assert [(part["model"]["name"], part["seed"]) for part in parts] == [("mine", 1), ("mine", 2)]
    assert "hydra" not in parts[0]
    assert main([*words, f"hydra.searchpath=[file://{own}]"]) == 0
    assert main(words) == 2
    assert "model: 'mine' is unknown" in capsys.readouterr().err


def test_runs_with_ones_own_configuration_folder(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["model=mine", "--config-dir", str(own), "--dry-run", f"output_dir={tmp_path / 'o'}"]
    assert main(words) == 0 and "1 jobs" in capsys.readouterr().out


def test_notes_of_fields_come_from_comments_and_docstrings() -> None:
    assert help_text.field_notes(Noted) == {
        "behind": "a comment behind",
        "above": "a comment above",
        "doc": "a docstring below",
    }


class Noted:
    """Fields with notes."""

    behind: int = 1  # a comment behind
    # a comment above
    above: int = 2
    plain: int = 3
    doc: int = 4
    """a docstring
    below"""


def test_key_prefixes(tmp_path: Path) -> None:
    for key in ("ab12" + "0" * 12, "ab34" + "0" * 12):
        folder = RunStore(tmp_path).folder(key)
        folder.start({}, {})
        folder.finish({})
    assert full_keys(str(tmp_path), ["ab1", "AB34"]) == ["ab12" + "0" * 12, "ab34" + "0" * 12]
    assert full_keys(str(tmp_path), ["f" * 16]) == ["f" * 16]
    with pytest.raises(UsageError, match="ab: 2 runs begin"):
        full_keys(str(tmp_path), ["ab"])
    with pytest.raises(UsageError, match="zz: no run in"):
        full_keys(str(tmp_path), ["zz"])


def test_bash_completes_groups_settings_and_commands(capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    typed = {
        "ffbench rep": "report",
        "ffbench model=tiny_q": "tiny_qwen2",
        "ffbench spa": "sparsity=",
    }
    for line, expected in typed.items():
        code = (
            f"{script}\nCOMP_LINE='{line}' COMP_POINT={len(line)}\n_ffbench\necho ${{COMPREPLY[@]}}"
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert expected in done.stdout.split(), (line, done)
    for shell in ("zsh", "fish"):
        assert main(["completion", shell]) == 0
        assert "model=tiny_llama" in capsys.readouterr().out


def test_paths_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for word in ("output_dir=~/out", "output_dir='~/out'", 'output_dir="~/out"'):
        assert jobs_of([word])[0].settings.output_dir == "/home/me/out"
    data = jobs_of(["task=longbench", "task.data_dir=~/l b"])[0].settings.task.data_dir
    assert data == "/home/me/l b"


def test_sweeps_of_hydras_grammar() -> None:
    models = [job.settings.model.name for job in jobs_of(["model=glob(tiny_q*)"])]
    assert models == ["tiny_qwen2", "tiny_qwen2_moe", "tiny_qwen3", "tiny_qwen3_moe"]
    values = [job.settings.sparsity for job in jobs_of(["sparsity=range(0.1,0.8,0.1)"])]
    assert values == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert jobs_of(["sparsity=range(0.1,0.4,0.1)"])[2].overrides == ("sparsity=0.3",)
    assert [job.settings.seed for job in jobs_of(["seed=choice(3,4)"])] == [3, 4]
    limits = [job.settings.task.limit for job in jobs_of(["task.limit=None,2,null"])]
    assert limits == [None, 2, None]
