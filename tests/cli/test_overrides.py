"""Composition of jobs, and problems of single words."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from ffbench.cli.compose import ConfigProblems, config_dir, configuration, group_options, jobs_of
from ffbench.cli.main import main
from ffbench.cli.overrides import setting_keys

LAUNCHERS = {"slurm": "submitit", "ray": "ray", "joblib": "loky"}


def problems_of(*words: str) -> list[str]:
    with pytest.raises(ConfigProblems) as problem:
        jobs_of(list(words))
    return problem.value.problems


def test_every_file_of_every_group_composes() -> None:
    needed = {"model=folder": ["model.name=x", "model.location=y"]}
    with configuration():
        groups = group_options()
    assert {
        "model",
        "selector",
        "compensator",
        "scheduler",
        "task",
        "kernel",
        "tracker",
        "launcher",
    } <= set(groups)
    groups["launcher"] = [
        name for name in groups["launcher"] if find_spec(LAUNCHERS.get(name, "hydra"))
    ]
    whole = [
        [f"+{group}={name}"] for group in ("sweep", "experiment") for name in groups.pop(group)
    ]
    assert {"sparsity", "block_size", "models", "output_map", "schedulers", "full"} <= {
        words[0].removeprefix("+sweep=") for words in whole
    }
    rounds = max(
        map(len, groups.values())
    )  # the n-th file of every group together, so that few lines hold all
    lines = [
        [f"{group}={names[number % len(names)]}" for group, names in groups.items()]
        for number in range(rounds)
    ]
    for words in [*whole, *lines]:
        assert jobs_of([*words, *(more for word in words for more in needed.get(word, []))])


def test_every_file_opens_with_a_command() -> None:
    for path in config_dir().rglob("*.yaml"):
        assert "python -m ffbench" in "".join(path.read_text().splitlines(keepends=True)[:3]), path


def test_lists_and_ranges_unroll_into_jobs() -> None:
    jobs = jobs_of(["sparsity=0.3,0.5", "selector=static,oracle", "block_size=64"])
    assert [
        (j.settings.sparsity, j.settings.selector["name"], j.settings.block_size) for j in jobs
    ] == [(0.3, "static", 64), (0.3, "oracle", 64), (0.5, "static", 64), (0.5, "oracle", 64)]


def test_a_sweeps_own_list_gives_way_to_the_command_line() -> None:
    assert [j.settings.sparsity for j in jobs_of(["+sweep=sparsity"])] == [0, 0.5, 0.7]
    assert [j.settings.sparsity for j in jobs_of(["+sweep=sparsity", "sparsity=0.7"])] == [0.7]


def test_all_problems_come_at_once_with_the_nearest_name() -> None:
    found = problems_of(
        "sparsty=0.5",
        "model=smolm2_135m",
        "block_size=many",
        "selector=static,traind",
        "+sweep=sparsities",
    )
    text = "\n".join(found)
    assert len(found) == 5
    assert "did you mean 'sparsity'" in text and "did you mean 'smollm2_135m'" in text
    assert "block_size: " in text and "did you mean 'trained'" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["sweep=sparsity"], "write +sweep=sparsity"),
        (["model=folder"], "model.location: must be given"),
        (["nonsense"], "is not understood"),
        (["speed.lengths=abc"], "speed.lengths: "),
        (["sparsity=0.1,abc"], "sparsity: "),
        (["model.name.first=x"], "no such setting"),
    ],
)
def test_one_problem(words: list[str], text: str) -> None:
    assert any(text in line for line in problems_of(*words))


def test_every_setting_can_be_set() -> None:
    assert {"sparsity", "hot_fraction", "tracker.timeout", "speed.lengths"} <= set(setting_keys())
    assert jobs_of(["speed.lengths=[512,1024]"])[0].settings.speed.lengths == [512, 1024]


def test_dry_run_lists_jobs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert (
        main(["+sweep=sparsity", "model=tiny_llama", f"output_dir={tmp_path / 'out'}", "--dry-run"])
        == 0
    )
    text = capsys.readouterr().out
    assert "3 jobs: 0 done, 0 running, 3 missing, 0 failed" in text and "no past run" in text
    assert not list(tmp_path.glob("out/runs"))


def test_help_and_status(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    assert "hot_fraction" in capsys.readouterr().out
    assert main(["status", "--output-dir", str(tmp_path)]) == 0
    assert main(["status", "nothing", "--output-dir", str(tmp_path)]) == 2
