"""Sweep files without a server: expansion, problems, and the files that ship."""

import itertools
import math
import random
from pathlib import Path
from statistics import mean

import pytest
import yaml

from ffbench.runs.files import StoreError
from ffbench.tracking.early_terminate import EarlyTerminate, early_terminate_of
from ffbench.tracking.sweep_file import LocalSweep, SweepError, load_local_sweep, sampler, text

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"
COMMAND = ["${env}", "${interpreter}", "-m", "ffbench", "task=none", "${args_no_hyphens}"]

HYPERBAND = {"type": "hyperband", "min_iter": 2}
BAYES = {"method": "bayes", "metric": {"name": "objective"}}


def write(folder: Path, **changes: object) -> Path:
    raw = {
        "method": "grid",
        "command": COMMAND,
        "parameters": {"sparsity": {"values": [0.3, 0.5]}},
    } | changes
    path = folder / "mine.yaml"
    path.write_text(
        yaml.safe_dump(
            {key: value for key, value in raw.items() if value != "absent"}, sort_keys=False
        )
    )
    return path


def test_a_grid_is_the_product_in_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        parameters={
            "model": {"values": ["a", "b"]},
            "sparsity": {"values": [0, 0.5]},
            "dense_first": {"value": True},
        },
    )
    jobs = load_local_sweep(path).jobs()
    assert jobs == [
        ["task=none", f"model={m}", f"sparsity={s}", "dense_first=True"]
        for m, s in itertools.product("ab", (0, 0.5))
    ]


def test_run_cap_and_count_shorten(tmp_path: Path) -> None:
    assert len(load_local_sweep(write(tmp_path, run_cap=1)).jobs()) == 1
    assert len(load_local_sweep(write(tmp_path, run_cap=1)).jobs(2)) == 2
    assert len(load_local_sweep(write(tmp_path)).jobs(count=1)) == 1


def test_random_trials_repeat_by_seed_and_grow_by_prefix(tmp_path: Path) -> None:
    sweep = load_local_sweep(
        write(tmp_path, method="random", parameters={"sparsity": {"min": 0.2, "max": 0.7}})
    )
    assert sweep.jobs(3, seed=1) == sweep.jobs(5, seed=1)[:3] != sweep.jobs(3, seed=2)
    assert len(sweep.jobs()) == 20 and len({tuple(job) for job in sweep.jobs()}) == 20


@pytest.mark.parametrize(
    ("spec", "check"),
    [
        ({"min": 1, "max": 4}, lambda v: v in (1, 2, 3, 4) and isinstance(v, int)),
        ({"min": 0.0, "max": 1.0}, lambda v: 0 <= v <= 1),
        (
            {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25},
            lambda v: v in (0, 0.25, 0.5, 0.75, 1),
        ),
        (
            {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
            lambda v: 1e-4 <= v <= 1e-1,
        ),
        (
            {"distribution": "q_log_uniform_values", "min": 16, "max": 256, "q": 16},
            lambda v: v % 16 == 0 and 16 <= v <= 256,
        ),
        ({"values": ["a", "b"], "probabilities": [0.0, 1.0]}, lambda v: v == "b"),
        ({"value": 7}, lambda v: v == 7),
    ],
)
def test_samples_stay_in_bounds(spec: dict, check: object) -> None:
    draw, source = sampler(spec), random.Random(0)
    assert all(check(draw(source)) for _ in range(300))


def test_distributions_have_their_means() -> None:
    """To five standard errors: the deviations are 4 / sqrt(12) and 2."""
    source = random.Random(0)
    log = sampler({"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0})
    assert mean(math.log10(log(source)) for _ in range(4000)) == pytest.approx(-2, abs=0.1)
    normal = sampler({"distribution": "normal", "mu": 3.0, "sigma": 2.0})
    assert mean(normal(source) for _ in range(4000)) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "bayes"}, "metric is missing"),
        ({"method": "bayes", "metric": {"name": "x", "goal": "low"}}, "metric.goal is 'low'"),
        ({"method": "absent"}, "choose one of grid, random, bayes"),
        ({"command": "absent"}, "command must be a list"),
        ({"command": ["python", "-m", "ffbench"]}, "args_no_hyphens"),
        ({"parameters": {}}, "parameters is missing"),
        ({"parameters": {"sparsity": 0.5}}, "give a mapping"),
        ({"parameters": {"sparsity": {"min": 0, "max": 1}}}, "a grid needs value or values"),
        ({"parameters": {"model": {"parameters": {"a": {"value": 1}}}}}, "nested parameters"),
        ({"parameters": {"sparsity": {"value": 0.5, "vales": 1}}}, "unknown key 'vales'"),
        ({"parameters": {"task.limit": {"value": {"a": 1}}}}, "{'a': 1} has no spelling"),
        ({"parameters": {"task.limit": {"values": [[1, {}]]}}}, "has no spelling"),
        ({"parameters": {"task.limit": {"value": ""}}}, "'' has no spelling"),
        ({"parameters": {"a": {"values": []}}}, "at least one entry"),
        ({"parameters": {"a": {"values": [1, 2], "probabilities": [1.0]}}}, "sum to 1"),
        ({"method": "random", "parameters": {"a": {"min": 2, "max": 1}}}, "min < max"),
        (
            {
                "method": "random",
                "parameters": {"a": {"min": 0.1, "max": 1.0, "distribution": "beta"}},
            },
            "'beta' is not known",
        ),
        (
            {
                "method": "random",
                "parameters": {"a": {"min": 0, "max": 1, "distribution": "log_uniform_values"}},
            },
            "min > 0",
        ),
        ({"run_cap": 0}, "run_cap is 0"),
        ({"early_terminate": {"type": "hyperband"}}, "a local grid search runs every trial"),
        (
            {"method": "random", "parameters": {"a": {"min": 0, "max": 1, "q": 0}}},
            "q is 0; give a number above 0",
        ),
        (BAYES | {"early_terminate": {"type": "median"}}, "give a mapping with type: hyperband"),
        (BAYES | {"early_terminate": HYPERBAND | {"strict": True}}, "early_terminate.strict"),
        (BAYES | {"early_terminate": {"type": "hyperband"}}, "either min_iter, or max_iter and s"),
        (BAYES | {"early_terminate": HYPERBAND | {"eta": 1}}, "early_terminate.eta is 1"),
        (
            BAYES | {"early_terminate": HYPERBAND, "metric": {"name": "flops/ratio"}},
            "needs metric objective",
        ),
        (
            BAYES | {"parameters": {"a": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
            "probabilities need method random",
        ),
        (BAYES | {"parameters": {"a": {"distribution": "normal"}}}, "normal has no bounds"),
    ],
)
def test_problems(tmp_path: Path, changes: dict, words: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(SweepError) as caught:
        load_local_sweep(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_brackets_of_early_termination() -> None:
    assert early_terminate_of(None) is None
    assert early_terminate_of(HYPERBAND) == EarlyTerminate(2, 3)
    # W&B's own example: max_iter 27, s 2, eta 3 has brackets at 27 / 3 = 9 and 9 / 3 = 3
    brackets = {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3}
    assert early_terminate_of(brackets) == EarlyTerminate(3, 3)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, method="gird", parameters={"a": 1, "b": {"values": []}})
    with pytest.raises(SweepError) as caught:
        load_local_sweep(path)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("content", ["a: [", "- 1", ""])
def test_a_file_that_is_no_sweep(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(SweepError, match=r"x\.yaml is not"):
        load_local_sweep(path)
    with pytest.raises(StoreError, match="nowhere.yaml"):
        load_local_sweep(tmp_path / "nowhere.yaml")


def test_spelling_of_values() -> None:
    assert [text(value) for value in (0.5, True, "tiny_llama", "a b", "it's,{x}")] == [
        "0.5",
        "True",
        "tiny_llama",
        "'a b'",
        "'it\\'s,{x}'",
    ]
    parser = pytest.importorskip(
        "hydra.core.override_parser.overrides_parser"
    ).OverridesParser.create()
    for value in ("a b", "it's,{x}", "x/y.z", "q'\\'"):
        assert parser.parse_override(f"key={text(value)}").value() == value


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps(path: Path) -> None:
    source = path.read_text()
    assert source.startswith(f"# wandb sweep sweeps/{path.name}")
    raw = yaml.safe_load(source)
    assert raw["command"][:4] == ["${env}", "${interpreter}", "-m", "ffbench"]
    sweep = load_local_sweep(path)
    if raw["method"] == "bayes":
        assert (sweep.metric, sweep.goal) == (raw["metric"]["name"], raw["metric"]["goal"])
        assert sweep.early_terminate == EarlyTerminate(2, 2)
        return
    assert isinstance(sweep, LocalSweep) and all(
        "=" in word for job in sweep.jobs() for word in job
    )


def test_null_and_lists_are_spelled_as_the_command_line_takes_them(tmp_path: Path) -> None:
    from ffbench.cli.compose import jobs_of

    path = write(
        tmp_path,
        parameters={
            "task.limit": {"values": [None, 2]},
            "speed.lengths": {"values": [[256], [256, 512]]},
            "task.tasks": {"value": ["embedded_code"]},
            "tracker.entity": {"value": "two words"},
        },
    )
    trials = load_local_sweep(path).jobs()
    assert trials[0][-4:] == [
        "task.limit=null",
        "speed.lengths=[256]",
        "task.tasks=[embedded_code]",
        "tracker.entity='two words'",
    ]
    here = [job.settings for job in jobs_of(*trials)]
    agent = [
        "speed.lengths=[256, 512]",
        "task.limit=None",
        "task.tasks=['embedded_code']",
        "tracker.entity=two words",
    ]
    assert [(s.task.limit, s.speed.lengths) for s in here] == [
        (None, [256]),
        (None, [256, 512]),
        (2, [256]),
        (2, [256, 512]),
    ]
    (by_agent,) = jobs_of([*trials[0][:-4], *agent])
    assert by_agent.settings == here[1]
