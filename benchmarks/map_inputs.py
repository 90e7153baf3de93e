"""What a map of the output gains if it is fitted on the sparse model's inputs, not the dense one's.

python benchmarks/map_inputs.py [SETTING=VALUE ...]

The plan is that of the SETTINGS, with a map of rank 104 unless compensator.output_map_rank says
otherwise. Both maps are judged on the same windows; one JSON line per kind of inputs goes to --out.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

from bench_lines import QUIET, append, arguments_of, conditions, settings_parser, single_job

from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.bootstrap import interval
from ffbench.evaluation.fidelity import measure, save_dense, summary
from ffbench.experiment.calibration import training_text
from ffbench.experiment.fidelity_cases import fidelity_cases
from ffbench.experiment.session import Session
from ffbench.methods.flops import flops_of
from ffbench.methods.plan import SparsePlan
from ffbench.settings import RunSettings
from ffbench.training.output_map import fit_output_maps
from ffbench.training.plan_stages import MAP_WINDOWS

SCRIPT = "map_inputs.py"
RANK = 104  # with rank 64 of the estimate as many FLOPs as rank 128 of the estimate alone
INPUTS = ("sparse", "dense")


def without_map(settings: RunSettings) -> RunSettings:
    """The settings of the plan that the maps are fitted to."""
    bare = {"output_map_rank": 0, "tune_steps": 0}
    return replace(settings, compensator=settings.compensator | bare)


def mapped_plan(session: Session, plan: SparsePlan, rank: int, inputs: str) -> SparsePlan:
    """The plan with maps fitted on one kind of inputs."""
    text = training_text(session.settings, session.tokenizer).calibration
    windows = text[:: max(1, len(text) // MAP_WINDOWS)]
    maps = fit_output_maps(session.model, plan, windows, rank, dense_inputs=inputs == "dense")
    layers = [
        replace(layer, compensation=layer.compensation.with_output_map(output_map))
        for layer, output_map in zip(plan.layers, maps, strict=True)
    ]
    return replace(plan, layers=layers)


def run(arguments: Sequence[str]) -> int:
    """Fit both, measure both, append and print a line for each."""
    parser = settings_parser(__doc__, "benchmarks/results/map_inputs.jsonl")
    options = parser.parse_intermixed_args(list(arguments))
    defaults = [*QUIET, "compensator=surrogate", f"compensator.output_map_rank={RANK}"]
    settings = single_job(options.settings, defaults).settings
    rank = settings.compensator.get("output_map_rank", 0)
    if not rank:
        return refuse(["compensator.output_map_rank: 0 is no map; choose 1 or more"])
    session = Session(without_map(settings))
    stage = session.stages.dense_tails
    if stage is None:
        return refuse(["fidelity.windows: 0 is too small; choose 1 or more"])
    plan = session.trained_plan()
    cases = fidelity_cases(settings.fidelity, session.tokenizer)
    dense = session.cached(stage, lambda folder: save_dense(session.model, cases, folder))
    for inputs in INPUTS:
        mapped = mapped_plan(session, plan, rank, inputs)
        measured = measure(session.model, mapped, cases, dense, settings.kernel.backend)
        flops = flops_of(mapped)
        fidelity = summary(measured, flops.whole_prompt(measured.density), interval)
        fidelity.pop("rows")
        line = {
            "inputs": inputs,
            "model": settings.model.name,
            "plan": mapped.settings.as_dict(),
            "output_map_rank": rank,
            "flops": asdict(flops),
            "fidelity": fidelity,
        }
        append(options.out, line | conditions(SCRIPT, arguments, str(session.model.device)))
        kl = {name: round(tail["kl"], 4) for name, tail in fidelity["tails"].items()}
        print(f"{inputs} inputs: KL {kl}", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
