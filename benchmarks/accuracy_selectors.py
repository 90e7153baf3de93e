"""What an answer loses by each selector, compensator and scheduler at equal FLOPs.

python benchmarks/accuracy_selectors.py --flops 0.60 --part heldout
python benchmarks/accuracy_selectors.py --part test selector=trained,static compensator=surrogate
python benchmarks/accuracy_selectors.py selector=probe selector.choice=spaced,norm scheduler=uniform

The sparsity of each plan is solved so that whole prompts cost the share --flops of the dense FFN's
FLOPs, selector, compensator and dense tokens included. A rule whose selector alone costs more is a
bound: its own cost is left out (`selector_counted` is false in its line). KL and NLL increase of
the continuation and of a copied passage are measured on the same windows for every plan.

SETTINGS are those of `python -m ffbench`; several values of one are all combined. Without them
every selector and token rule is measured with compensators none and surrogate and schedulers
uniform and curvature. Combinations that do not exist are skipped and printed. Each plan appends a
JSON line to --out; a line that is there already is not measured again.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from bench_lines import (
    QUIET,
    append,
    arguments_of,
    conditions,
    keys_of,
    settings_parser,
    with_defaults,
)
from flops_target import Solution, TargetError, solve_sparsity, sparse_share

from ffbench.cli.compose import jobs_of
from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.bootstrap import interval
from ffbench.evaluation.fidelity import measure, save_dense, summary
from ffbench.experiment.fidelity_cases import fidelity_cases
from ffbench.experiment.identity import calibration_name
from ffbench.experiment.session import Session
from ffbench.experiment.stages import run_key
from ffbench.methods.chosen import selector_defaults
from ffbench.methods.flops import flops_of
from ffbench.methods.plan import SparsePlan
from ffbench.methods.token_rules import TokenRule
from ffbench.models.random_models import random_plan
from ffbench.runs.identity import content_key
from ffbench.settings import RunSettings
from ffbench.validation import problems

SCRIPT = "accuracy_selectors.py"
PLACEHOLDER = 0.5  # a sparsity for keys and sizes, until the real one is solved


def defaults(part: str) -> list[str]:
    """Settings of the whole grid."""
    return [
        *QUIET,
        f"selector={','.join(sorted(selector_defaults()))}",
        "compensator=none,surrogate",
        "scheduler=uniform,curvature",
        "fidelity.tails=[continuation,copy]",
        f"fidelity.part={part}",
        f"sparsity={PLACEHOLDER}",
    ]


def name_of(settings: RunSettings) -> str:
    """Selector, compensator and scheduler with their parameters, for people."""
    nodes = (settings.selector, settings.compensator, settings.scheduler)
    return " ".join(
        node["name"] + "".join(f" {k}={v}" for k, v in node.items() if k != "name")
        for node in nodes
    )


def key_of(settings: RunSettings, flops: float) -> str:
    """Names everything that changes a line, versions of the code's stages included."""
    return content_key({"run": run_key(settings), "flops": flops})


def solved(settings: RunSettings, flops: float) -> tuple[RunSettings, Solution]:
    """The settings with the sparsity that has the ratio; sizes from a random plan, no training.

    Raises TargetError if there is none.
    """
    session = Session(settings)
    plan = random_plan(session.model, session.stages.plan_settings)
    solution = solve_sparsity(plan, flops, sparse_share(settings))
    return replace(settings, sparsity=solution.sparsity), solution


def fidelity_of(session: Session, plan: SparsePlan) -> dict[str, Any]:
    """Fidelity of a plan as in a run's result, without the rows of single windows."""
    s = session.settings
    stage = session.stages.dense_tails
    assert stage is not None, "problems() refuses fidelity without windows"
    cases = fidelity_cases(s.fidelity, session.tokenizer)
    dense = session.cached(stage, lambda folder: save_dense(session.model, cases, folder))
    measured = measure(session.model, plan, cases, dense, s.kernel.backend)
    used = flops_of(plan).whole_prompt(measured.density)
    values = summary(measured, used, interval)
    values.pop("rows")
    return values


def plan_line(settings: RunSettings, flops: float) -> dict[str, Any]:
    """What one plan is and what it costs the answers."""
    at_target, solution = solved(settings, flops)
    session = Session(at_target)
    plan, s = session.trained_plan(), at_target
    nodes = {"selector": s.selector, "compensator": s.compensator, "scheduler": s.scheduler}
    parameters = {
        kind: {name: value for name, value in node.items() if name != "name"}
        for kind, node in nodes.items()
    }
    return {
        "key": key_of(settings, flops),
        "model": s.model.name,
        "dtype": str(session.model.dtype).removeprefix("torch."),
        **{kind: node["name"] for kind, node in nodes.items()},
        "parameters": parameters,
        "per_token": isinstance(plan.settings.selector, TokenRule),
        "sparsity": s.sparsity,
        "block_size": s.block_size,
        "blocks": s.blocks,
        "hot_fraction": s.hot_fraction,
        "group_size": s.group_size,
        "calibration_text": calibration_name(s),
        "calibration_tokens": s.calibration.tokens,
        "objective": s.objective.weights(),
        "metric": "answer" if session.stages.by_answer else "output",
        "part": s.fidelity.part,
        "flops_target": flops,
        "selector_counted": solution.selector_counted,
        "flops": asdict(flops_of(plan)),
        "fidelity": fidelity_of(session, plan),
        "device": str(session.model.device),
    }


def valid_settings(arguments: Sequence[str], part: str) -> tuple[list[RunSettings], list[str]]:
    """The settings of every valid combination, and the problems of the others."""
    valid, skipped = [], []
    for job in jobs_of(with_defaults(arguments, defaults(part))):
        refused = list(problems(job.settings))
        if not job.settings.fidelity.windows:
            refused.append("fidelity.windows: 0 is too small; choose 1 or more")
        if refused:
            skipped.append(f"{name_of(job.settings)}: {'; '.join(refused)}")
        else:
            valid.append(job.settings)
    return valid, skipped


def shown(line: dict[str, Any]) -> str:
    """One line for people."""
    tails = line["fidelity"]["tails"]
    kl = ", ".join(f"{name} KL {tail['kl']:.4f}" for name, tail in tails.items())
    return f"sparsity {line['sparsity']:.4f}, FLOPs {line['fidelity']['flops_used']:.4f}, {kl}"


def run(arguments: Sequence[str]) -> int:
    """Measure every plan that --out does not have yet."""
    parser = settings_parser(__doc__, "benchmarks/results/baselines.jsonl")
    parser.add_argument(
        "--flops", type=float, default=0.6, help="FFN FLOPs of whole prompts over dense"
    )
    parser.add_argument("--part", choices=("heldout", "test"), default="heldout")
    options = parser.parse_intermixed_args(list(arguments))
    if not 0 < options.flops < 1:
        return refuse([f"--flops: {options.flops} is not between 0 and 1"])
    every, skipped = valid_settings(options.settings, options.part)
    if not every:
        return refuse(skipped)
    for text in skipped:
        print(f"skipped {text}")
    done = keys_of(options.out)
    missing = [one for one in every if key_of(one, options.flops) not in done]
    print(f"{len(every)} plans, {len(missing)} to measure", flush=True)
    for settings in missing:
        try:
            line = plan_line(settings, options.flops)
        except TargetError as error:
            print(f"skipped {name_of(settings)}: {error}", flush=True)
            continue
        append(options.out, line | conditions(SCRIPT, arguments, line["device"]))
        print(f"{name_of(settings)}: {shown(line)}", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
