"""`python -m ffbench`: compose the configuration, check every job, run what is missing, print the table."""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffbench.settings import RunSettings

INVALID = 2


def config_dir() -> Path:
    """The installed configuration folder, or the repository's."""
    installed = Path(__file__).parents[1] / "conf"
    return installed if (installed / "config.yaml").exists() else Path(__file__).parents[2] / "conf"


def composed(overrides: list[str]) -> tuple[RunSettings, dict[str, str]]:
    """Settings of one job and the sweep parameters that its configuration asks for."""
    config = compose("config", overrides=overrides, return_hydra_config=True)
    sweeper = dict(config.hydra.sweeper.params or {})
    plain = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    settings: RunSettings = OmegaConf.to_object(  # type: ignore[assignment]
        OmegaConf.merge(OmegaConf.structured(RunSettings), plain))
    return settings, {str(k): str(v) for k, v in sweeper.items()}


def jobs_of(arguments: list[str]) -> list[tuple[list[str], RunSettings]]:
    """Overrides and settings of every job of a command line."""
    parser = OverridesParser.create()
    fixed = [word for word in arguments if not parser.parse_override(word).is_sweep_override()]
    _, parameters = composed(fixed)
    named = {word.split("=")[0] for word in arguments}
    swept = [f"{key}={value}" for key, value in parameters.items() if key not in named]
    lists = BasicSweeper.split_arguments(parser.parse_overrides(arguments + swept), None)[0]
    return [(list(job), composed(list(job))[0]) for job in lists]


def refuse(found: list[str]) -> int:
    """Print every problem once; returns the exit code of bad input."""
    for line in dict.fromkeys(found):
        print(f"error: {line}", file=sys.stderr)
    return INVALID


def table(output_dir: str, keys: list[str]) -> str:
    """A Markdown row a run."""
    from ffbench.runs.store import RunStore

    lines = ["| sparsity | selector | compensator | score | dense | KL | ppl ratio | FFN speedup | TTFT speedup | run |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for key in keys:
        r = RunStore(output_dir).folder(key).result()
        mean, fidelity, speed = r["mean"] or {}, (r["fidelity"] or {}).get("mean", {}), r["speed"] or {}
        figures = [mean.get("score"), mean.get("score_dense"), fidelity.get("kl"), fidelity.get("ppl_ratio"),
                   speed["ffn"]["ratio"] if speed else None, speed["ttft"][0]["ratio"] if speed else None]
        cells = ["-" if value is None else f"{value:.3f}" for value in figures]
        lines.append(f"| {r['sparsity']} | {r['selector']} | {r['compensator']} | {' | '.join(cells)} | {key} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when all is done, 1 when a job failed, 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    ConfigStore.instance().store("schema", RunSettings)
    with initialize_config_dir(str(config_dir().resolve()), version_base="1.3"):
        try:
            jobs = jobs_of(arguments)
        except (HydraException, OmegaConfBaseException) as error:
            return refuse([" ".join(str(error).split())])
    from ffbench.validation import problems

    found = [problem for _, settings in jobs for problem in problems(settings)]
    if found:
        return refuse(found)
    return run_jobs(jobs, arguments)


def run_jobs(jobs: list[tuple[list[str], RunSettings]], arguments: list[str]) -> int:
    """Run every job in turn; one that fails stops no other."""
    from ffbench.models.adapters import UnsupportedModelError
    from ffbench.models.loading import ModelError
    from ffbench.stages.pipeline import execute
    from ffbench.tasks.registry import TaskError

    keys, failures, invalid = [], [], []
    for overrides, settings in jobs:
        try:
            keys.append(execute(settings, ["python", "-m", "ffbench", *arguments]))
        except (ModelError, TaskError, UnsupportedModelError) as error:
            invalid.append(str(error))
        except Exception as error:
            failures.append(f"{' '.join(overrides)}: {type(error).__name__}: {error}")
    print(table(jobs[0][1].output_dir, keys))
    for line in failures:
        print(f"failed: {line}", file=sys.stderr)
    return refuse(invalid) if invalid else 1 if failures else 0
