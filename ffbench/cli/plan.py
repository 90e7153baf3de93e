"""`python -m ffbench plan save|load|show|record`: sparse plans as folders of safetensors and
JSON.
"""

from pathlib import Path
from typing import Any

from ffbench.cli.compose import Job, jobs_of
from ffbench.cli.errors import refuse
from ffbench.cli.options import Parser, expanded
from ffbench.cli.preflight import job_problems
from ffbench.methods.plan import SparsePlan, untimed
from ffbench.methods.plan_card import card_rows, method_text
from ffbench.runs.files import disk_errors, full_disk_errors
from ffbench.settings import RunSettings

HELP = """Sparse plans as folders of safetensors and JSON.

python -m ffbench plan save FOLDER SETTING=VALUE ...    train the plan of some settings, write it
python -m ffbench plan load FOLDER model=NAME           check a plan against a model, and show it
python -m ffbench plan show FOLDER                      show a plan
python -m ffbench plan record FOLDER SETTING=VALUE ...  add the neurons that the plan keeps on
                                                        held-out text, for ffkernels.bench"""
ACTIONS = ("save", "load", "show", "record")


def main(arguments: list[str]) -> int:
    """0 when done, 2 for bad input."""
    parser = Parser("plan", HELP, settings=True)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("folder", type=lambda path: Path(expanded(path)))
    options = parser.parse(arguments)
    if options.action == "show":
        if options.settings:
            return refuse([f"{text}: plan show takes a folder only" for text in options.settings])
        print(describe(SparsePlan.load(options.folder)))
        return 0
    return with_model(options.action, options.folder, options.settings)


def with_model(action: str, folder: Path, overrides: list[str]) -> int:
    """Save, load or record a plan for the settings that the overrides give."""
    from ffbench.experiment.identity import fingerprint

    jobs = jobs_of(overrides)
    if len(jobs) != 1:
        return refuse([f"plan {action}: {len(jobs)} jobs were given; choose one value per setting"])
    if action == "load":
        print(describe(SparsePlan.load(folder, fingerprint(jobs[0].settings))))
        return 0
    return (save_plan if action == "save" else record_plan)(folder, jobs[0])


def save_plan(folder: Path, job: Job) -> int:
    """Train and write a plan; refused if the folder holds something else already."""
    from ffbench.experiment.session import trained_plan

    problems = job_problems([job])
    if job.settings.dense:
        problems.append(
            "sparsity: 0 is the dense model, which needs no plan; choose a value between 0 and 1"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"folder: {folder} exists and is not empty; choose a new one")
    if problems:
        return refuse(problems)
    plan = trained_plan(job.settings)
    plan.card |= known_measurements(job.settings)
    with full_disk_errors("write the plan to", folder), disk_errors("write the plan to", folder):
        plan.save(folder)
    print(describe(plan))
    return 0


def known_measurements(settings: RunSettings) -> dict[str, Any]:
    """What a finished run of the same settings measured of this plan; empty if there is none."""
    from ffbench.experiment.plan_cards import measured_card
    from ffbench.experiment.stages import run_key
    from ffbench.runs.files import StoreError
    from ffbench.runs.store import RunStore

    try:
        result = RunStore(settings.output_dir).folder(run_key(settings)).result()
    except StoreError:
        return {}
    return measured_card(result.get("fidelity"), result.get("speed"))


def record_plan(folder: Path, job: Job) -> int:
    """Run the plan on the held-out windows of the fidelity settings and write the kept neurons into
    its folder.
    """
    import torch

    from ffbench.evaluation.kept_neurons import FILE, chosen_neurons, save_record
    from ffbench.experiment import identity as keys
    from ffbench.experiment.calibration import heldout_windows
    from ffbench.experiment.session import loaded
    from ffbench.models.block_ffn import sparse_span

    problems, s = job_problems([job]), job.settings
    plan = SparsePlan.load(folder, keys.fingerprint(s))
    length = max(s.fidelity.contexts, default=0)
    if s.fidelity.windows < 1 or not len(sparse_span(plan.settings, length)):
        problems.append(
            f"fidelity: {s.fidelity.windows} windows of {length} tokens have no sparse blocks; "
            "choose 1 window or more with a longer context"
        )
    problems += [reason for reason in [untimed(plan.settings)] if reason]
    if plan.settings.scheduler.per_block:
        problems.append(
            f"scheduler: blocks of a plan by {plan.settings.scheduler.name!r} keep different "
            "numbers of neurons, which the benchmark cannot replay; use another scheduler"
        )
    if plan.mixture:
        problems.append("plan record: the benchmark replays dense models only, not experts")
    if problems:
        return refuse(problems)
    model, tokenizer = loaded(keys.model_spec(s))
    windows = heldout_windows(tokenizer, s.fidelity.windows * length, length)
    chosen = chosen_neurons(model, plan, torch.cat(list(windows.values())), s.kernel.backend)
    save_record(folder, plan, chosen)
    print(
        f"{folder / FILE}: {len(chosen)} layers, {len(chosen[0])} blocks of "
        f"{plan.settings.block_size} tokens"
    )
    return 0


def describe(plan: SparsePlan) -> str:
    """Settings, card and the kept neurons of each layer."""
    rows_of = plan.settings.as_dict().items()
    settings = "\n".join(f"{name:14} {method_text(value)}" for name, value in rows_of)
    card = "\n".join(f"{label:14} {text}" for label, text in card_rows(plan).items())
    rows = "\n".join(
        f"{place.text(3)}  kept {layer.kept:6} of {len(layer.order)}  "
        f"density {layer.kept / len(layer.order):.3f}  hot {layer.hot:6}  "
        f"compensator features {layer.compensation.feature_width}"
        for place, layer in zip(plan.places, plan.layers, strict=True)
    )
    reason = untimed(plan.settings)
    note = f"\nspeed          none: {reason}" if reason else ""
    return f"{settings}\n{card}{note}\n{rows}"
