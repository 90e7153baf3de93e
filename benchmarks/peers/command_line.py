"""Time to first token of the same weights in other runtimes, beside ours.

make peers                                              once: their environment, .venv-peers
python -m benchmarks.peers plan=HALF plan=SEVENTY       each plan=FOLDER is a saved plan

Every runtime gets the token ids of the same held-out texts and the same number of threads, in
processes of their own that answer in turn. A runtime that is not installed or cannot load is a line
with its reason. Lines go to --out, one per runtime and session; sessions that are there already are
not measured again. Other SETTINGS are those of `python -m ffbench`.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.bench_lines import (
    QUIET,
    append,
    arguments_of,
    conditions,
    keys_of,
    single_job,
)
from benchmarks.peers import arms as all_arms
from benchmarks.peers.arms import REFERENCE, Arm
from benchmarks.peers.keys import key_of_run, keys_of_sessions, plan_contents
from benchmarks.peers.options import FIXED, option_problems, parse
from benchmarks.peers.process import Worker, WorkerError
from benchmarks.peers.prompts import prompts_of
from benchmarks.peers.session import Measured, measure
from benchmarks.peers.weights import gguf_files, stored_format
from ffanalysis import benches, peer_table
from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.machine_state import machine_state
from ffbench.experiment import identity
from ffbench.methods.plan import SparsePlan, untimed
from ffbench.models.loading import ModelSpec, load_model, weight_files
from ffbench.models.weight_copy import quick_to_load
from ffbench.runs.progress import log_line
from ffbench.settings import RunSettings


def loaded_plans(folders: Sequence[Path], settings: RunSettings) -> list[SparsePlan]:
    """The plans, checked against the model. Raises PlanError."""
    return [SparsePlan.load(folder, identity.fingerprint(settings)) for folder in folders]


def starter(options: Namespace, threads: int, files: dict[str, Path]) -> Any:
    """What starts an arm's process. Its error says what is missing."""

    def start(arm: Arm) -> Worker:
        request = arm.options | {
            "engine": arm.engine,
            "threads": threads,
            "tokens": options.tokens,
        }
        if arm.gguf is None:
            return Worker([sys.executable], request)
        if arm.gguf not in files:
            raise WorkerError("the model has no GGUF file, which is what this runtime reads")
        if not options.python.exists():
            raise WorkerError(f"{options.python} is missing; make it with: make peers")
        return Worker([str(options.python.absolute())], request | {"gguf": str(files[arm.gguf])})

    return start


def lines_of(
    measured: dict[str, Measured],
    chosen: Sequence[Arm],
    common: dict[str, Any],
    keys: dict[str, str],
) -> list[dict[str, Any]]:
    """One line per runtime of a session."""
    base = measured[REFERENCE]
    return [
        {
            "key": keys[arm.name],
            "peer": arm.name,
            "precision": arm.precision,
            "weights": arm.weights,
            **asdict(measured[arm.name]),
            "reference_seconds": base.seconds,
            "reference_tokens": base.next_tokens,
            **common,
        }
        for arm in chosen
    ]


def chosen_arms(
    settings: RunSettings, spec: ModelSpec, options: Namespace, plans: Any
) -> list[Arm]:
    """The arms that --only leaves; the reference is always one."""
    files = [path for path in weight_files(spec) if path.suffix == ".gguf"]
    stored = stored_format(files[0]) if files else "none"
    arms = [
        *all_arms.own(asdict(spec), settings.kernel.backend, plans),
        *all_arms.peers(stored),
    ]
    words = [word for word in options.only.split(",") if word]
    return [
        arm
        for arm in arms
        if not words or arm.name == REFERENCE or any(word in arm.name for word in words)
    ]


def run(arguments: Sequence[str]) -> int:
    """0 when measured, 1 if the reference failed, 2 for bad input."""
    import torch

    options, folders = parse(__doc__, arguments)
    if problems := option_problems(options, folders):
        return refuse(problems)
    fixed = [f"{name}={value}" for name, value in FIXED.items()]
    settings = single_job(options.settings, [*QUIET, *fixed]).settings
    plans = loaded_plans(folders, settings)
    if reasons := [reason for plan in plans if (reason := untimed(plan.settings))]:
        return refuse([f"plan: {reason}" for reason in reasons])
    threads = settings.kernel.threads or torch.get_num_threads()
    spec = identity.model_spec(settings)
    named = [(folder, plan.settings.sparsity) for folder, plan in zip(folders, plans, strict=True)]
    arms = chosen_arms(settings, spec, options, named)
    contents = [plan_contents(folder, plan) for folder, plan in zip(folders, plans, strict=True)]
    run_key = key_of_run(options, settings, contents, arms, threads)
    keys = keys_of_sessions(run_key, options.sessions, arms)
    there = keys_of(options.out)
    missing = [k for k, names in enumerate(keys) if not set(names.values()) <= there]
    if not missing:
        print("every session is there already")
        return 0
    named_only = [
        f"plan={Path(text).name}" if text.startswith("plan=") else text for text in arguments
    ]
    facts = conditions("-m benchmarks.peers", named_only) | {
        "threads": threads,
        "run": run_key,
        "model": settings.model.name,
        "prompt_tokens": options.tokens,
    }
    failed = sessions(
        options=options,
        settings=settings,
        spec=spec,
        arms=arms,
        missing=missing,
        keys=keys,
        facts=facts,
    )
    print(peer_table.text(benches.lines(options.out)))
    return 1 if failed else 0


def sessions(
    *,
    options: Namespace,
    settings: RunSettings,
    spec: ModelSpec,
    arms: Sequence[Arm],
    missing: Sequence[int],
    keys: Sequence[dict[str, str]],
    facts: dict[str, Any],
) -> bool:
    """Measure the missing sessions and append their lines; True if the reference failed in one."""
    model, tokenizer = load_model(spec)
    prompts = prompts_of(tokenizer, options)
    kinds = {arm.gguf for arm in arms if arm.gguf}
    with quick_to_load(spec, model, tokenizer) as quick, gguf_files(spec, kinds) as files:
        del model
        arms = [
            replace(arm, options=arm.options | {"model": asdict(quick)}) if not arm.gguf else arm
            for arm in arms
        ]
        start = starter(options, facts["threads"], files)
        for k in missing:
            log_line(f"session {k + 1} of {options.sessions}")
            before = os.getloadavg()[0]
            measured = measure(arms, start, prompts[k], k, log_line)
            state = machine_state(before, facts["threads"])
            if measured[REFERENCE].reason:
                return True
            for line in lines_of(measured, arms, facts | {"session": k} | state, keys[k]):
                append(options.out, line)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))
