"""Time to first token of the same weights in other runtimes, beside ours.

make peers                                              once: their environment, .venv-peers
python -m benchmarks.peers plan=HALF plan=SEVENTY       each plan=FOLDER is a saved plan

Every runtime gets the token ids of the same held-out texts and the same number of threads, in
processes of their own that answer in turn. A runtime that is not installed or cannot load is a line
with its reason. Lines go to --out, one per runtime and session; sessions that are there already are
not measured again. Other SETTINGS are those of `python -m ffbench`.
"""

import json
import os
import subprocess
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
from benchmarks.peers.options import FIXED, option_problems, parse
from benchmarks.peers.process import Worker, WorkerError
from benchmarks.peers.prompts import prompts_of
from benchmarks.peers.session import Measured, measure
from benchmarks.peers.weights import gguf_files, stored_format
from ffanalysis import benches, peer_table
from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.speed_processes import BUSY_LOAD
from ffbench.experiment import identity
from ffbench.methods.plan import SparsePlan, untimed
from ffbench.models.loading import ModelSpec, load_model, weight_files
from ffbench.models.weight_copy import quick_to_load
from ffbench.runs.identity import content_key
from ffbench.runs.progress import log_line
from ffbench.runs.provenance import cpu_name
from ffbench.settings import RunSettings

PACKAGES = ("openvino-genai", "llama-cpp-python")
VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "have = {d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}\n"
    "print(json.dumps({name: have.get(name) for name in sys.argv[1:]}))"
)


def loaded_plans(folders: Sequence[Path], settings: RunSettings) -> list[SparsePlan]:
    """The plans, checked against the model. Raises PlanError."""
    return [SparsePlan.load(folder, identity.fingerprint(settings)) for folder in folders]


def versions(python: Path) -> dict[str, str | None]:
    """Version of each peer's package, None if it is not installed."""
    try:
        done = subprocess.run(
            [str(python), "-c", VERSIONS, *PACKAGES], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return dict.fromkeys(PACKAGES)
    return dict(json.loads(done.stdout))


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


def keys_of_sessions(
    options: Namespace,
    settings: RunSettings,
    plans: Sequence[SparsePlan],
    arms: Sequence[Arm],
    threads: int,
) -> tuple[str, list[dict[str, str]]]:
    """The key of the run, a hash of all that changes its times, and for each session the key of
    each runtime's line.
    """
    run_key = content_key(
        {
            "model": identity.fingerprint(settings),
            "arms": [[arm.name, arm.precision, arm.weights] for arm in arms],
            "plans": [plan.settings.as_dict() for plan in plans],
            "tokens": options.tokens,
            "rounds": options.rounds,
            "short": options.short,
            "threads": threads,
            "versions": versions(options.python),
            "cpu": cpu_name(),
        }
    )
    return run_key, [
        {arm.name: content_key({"run": run_key, "session": k, "peer": arm.name}) for arm in arms}
        for k in range(options.sessions)
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
    run_key, keys = keys_of_sessions(options, settings, plans, arms, threads)
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
            after = os.getloadavg()[0]
            if measured[REFERENCE].reason:
                return True
            load = {
                "load_before": before,
                "load_after": after,
                "busy": after > facts["threads"] + BUSY_LOAD,
            }
            for line in lines_of(measured, arms, facts | {"session": k} | load, keys[k]):
                append(options.out, line)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))
