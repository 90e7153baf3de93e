"""`python -m ffbench plan save|load|show|record`: sparse plans as folders of safetensors and
JSON.
"""

import argparse
from pathlib import Path

from ffbench.cli.compose import ConfigProblems, Job, jobs_of
from ffbench.cli.main import refuse
from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.methods.schedulers import PER_BLOCK
from ffbench.methods.selectors import untimed


def main(arguments: list[str]) -> int:
    """0 when done, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m ffbench plan", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    save = verbs.add_parser("save", help="train the plan of some settings and write it to a folder")
    load = verbs.add_parser("load", help="check a plan against a model, and show it")
    show = verbs.add_parser("show", help="show a plan")
    record = verbs.add_parser(
        "record", help="add the neurons that a plan keeps on held-out text, for ffkernels.bench"
    )
    for one in (save, load, show, record):
        one.add_argument("folder", type=Path)
    options, words = parser.parse_known_args(arguments)
    try:
        if options.verb == "show":
            if words:
                return refuse([f"{word}: plan show takes a folder only" for word in words])
            print(describe(SparsePlan.load(options.folder)))
            return 0
        return with_model(options.verb, options.folder, words)
    except PlanError as error:
        return refuse([str(error)])


def with_model(verb: str, folder: Path, words: list[str]) -> int:
    """Save or load a plan for the settings that the words give."""
    from ffbench.experiment.identity import fingerprint
    from ffbench.models.loading import ModelError

    try:
        jobs = jobs_of(words)
    except ConfigProblems as problem:
        return refuse(problem.found)
    if len(jobs) != 1:
        return refuse([f"plan {verb}: {len(jobs)} jobs were given; choose one value a setting"])
    try:
        if verb == "load":
            print(describe(SparsePlan.load(folder, fingerprint(jobs[0].settings))))
            return 0
        return (save_plan if verb == "save" else record_plan)(folder, jobs[0])
    except ModelError as error:
        return refuse([str(error)])


def save_plan(folder: Path, job: Job) -> int:
    """Train and write a plan; refused where the folder holds something else already."""
    from ffbench.experiment.pipeline import trained_plan
    from ffbench.validation import problems

    found = problems(job.settings)
    if job.settings.dense:
        found.append(
            "sparsity: 0 is the dense model, which needs no plan; choose a value between 0 and 1"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found.append(f"folder: {folder} is there already and not empty; choose a new one")
    if found:
        return refuse(found)
    plan = trained_plan(job.settings)
    plan.save(folder)
    print(describe(plan))
    return 0


def record_plan(folder: Path, job: Job) -> int:
    """Run the plan on the held-out windows of the fidelity settings and write the kept neurons into
    its folder.
    """
    import torch

    from ffbench.evaluation.kept_neurons import FILE, chosen_neurons, save_record
    from ffbench.experiment import identity as keys
    from ffbench.experiment import pipeline
    from ffbench.experiment.calibration import heldout_windows
    from ffbench.validation import problems

    found, s = problems(job.settings), job.settings
    plan = SparsePlan.load(folder, keys.fingerprint(s))
    if s.fidelity.windows < 1 or s.fidelity.window <= 2 * plan.settings.block_size:
        found.append(
            f"fidelity: {s.fidelity.windows} windows of {s.fidelity.window} tokens hold no sparse blocks; choose "
            f"1 window or more, of more than {2 * plan.settings.block_size} tokens"
        )
    found += [reason for reason in [untimed(plan)] if reason]
    if plan.settings.scheduler in PER_BLOCK:
        found.append(
            f"scheduler: blocks of a plan by {plan.settings.scheduler!r} keep different numbers of neurons, which "
            "the benchmark cannot replay; record a plan with another scheduler"
        )
    if found:
        return refuse(found)
    model, tokenizer = pipeline.loaded(keys.model_spec(s))
    windows = heldout_windows(tokenizer, s.fidelity.windows * s.fidelity.window, s.fidelity.window)
    chosen = chosen_neurons(model, plan, torch.cat(list(windows.values())), s.kernel.backend)
    save_record(folder, plan, chosen)
    print(
        f"{folder / FILE}: {len(chosen)} layers, {len(chosen[0])} blocks of {plan.settings.block_size} tokens"
    )
    return 0


def describe(plan: SparsePlan) -> str:
    """Settings, fingerprint and the kept neurons of each layer."""
    settings = "\n".join(f"{name:14} {value}" for name, value in vars(plan.settings).items())
    f = len(plan.layers[0].order)
    rows = "\n".join(
        f"layer {i:3}  kept {layer.kept:6} of {f}  density {layer.kept / f:.3f}  hot {layer.hot:6}  "
        f"surrogate rank {layer.surrogate.rank}"
        for i, layer in enumerate(plan.layers)
    )
    prints = "  ".join(f"{name} {value}" for name, value in plan.fingerprint.items())
    reason = untimed(plan)
    note = f"\nspeed          none: {reason}" if reason else ""
    return f"{settings}\nmade for       {prints}{note}\n{rows}"
