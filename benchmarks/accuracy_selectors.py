"""KL to the dense model of selectors, compensators and schedulers on held-out text, all on the same
windows.

python benchmarks/accuracy_selectors.py --pairs static:surrogate,trained:surrogate,trained:none
fidelity.windows=8 python benchmarks/accuracy_selectors.py --pairs trained:surrogate --vary
hot_fraction=0,0.25,0.5,0.75,1 python benchmarks/accuracy_selectors.py --pairs trained:surrogate
--vary rank=16,32,64,128,256

One JSON line a pair and value goes to --out. What that file holds already is not measured again: a
line's `key` names model, text, plan settings and windows. The dense hidden states are made once.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ffbench.cli.compose import jobs_of
from ffbench.evaluation.fidelity import fidelity_rows, save_dense, summarise
from ffbench.experiment import identity as keys
from ffbench.experiment import pipeline
from ffbench.methods.flops import flops_of
from ffbench.methods.selectors import SELECTORS
from ffbench.runs.identity import content_key
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.settings import RunSettings
from ffbench.validation import problems

VARIED = {
    "hot_fraction": ("selector", float),
    "rank": ("compensator", int),
    "block_size": (None, int),
    "sparsity": (None, float),
    "group_size": (None, int),
    "blocks": (None, str),
}


def changed(settings: RunSettings, name: str, value: str) -> RunSettings:
    """The settings with one of VARIED set."""
    part, kind = VARIED[name]
    if part is None:
        return replace(settings, **{name: kind(value)})
    return replace(settings, **{part: replace(getattr(settings, part), **{name: kind(value)})})


def jobs(settings: RunSettings, pairs: list[str], vary: str | None) -> Iterator[RunSettings]:
    """Settings of every pair and value."""
    name, values = vary.split("=") if vary else ("", "")
    for pair in pairs:
        selector, compensator, scheduler = [*pair.split(":"), "uniform"][:3]
        one = replace(
            settings,
            selector=replace(settings.selector, name=selector),
            compensator=replace(settings.compensator, name=compensator),
            scheduler=replace(settings.scheduler, name=scheduler),
        )
        yield from (changed(one, name, value) for value in values.split(",")) if vary else (one,)


def key_of(settings: RunSettings) -> str:
    """Names everything that changes a line's figures, but the program."""
    return content_key(
        keys.heldout_identity(settings)
        | keys.training_identity(settings)
        | {"plan": asdict(keys.plan_settings(settings))}
    )


def line_of(
    settings: RunSettings, work: pipeline.Workbench, windows: dict[str, torch.Tensor], dense: Path
) -> dict[str, Any]:
    """Figures of one plan."""
    plan = pipeline.train(settings, work.model, work.tokenizer, work.cached)
    figures = summarise(
        fidelity_rows(work.model, plan, windows, dense, settings.kernel.backend),
        settings.fidelity.window,
    )
    s = settings
    return {
        "key": key_of(s),
        "selector": s.selector.name,
        "compensator": s.compensator.name,
        "scheduler": s.scheduler.name,
        "sparsity": s.sparsity,
        "hot_fraction": s.selector.hot_fraction,
        "rank": s.compensator.rank,
        "block_size": s.block_size,
        "group_size": s.group_size,
        "blocks": s.blocks,
        "model": s.model.name,
        "block_wise": SELECTORS[s.selector.name].block_wise,
        "calibration_tokens": s.calibration.tokens,
        "flops": flops_of(plan),
        "fidelity": figures,
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "git_sha": git_state()[0],
    }


def main() -> None:
    """Print and append one JSON line a plan that the file does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs",
        type=lambda text: text.split(","),
        required=True,
        help="selector:compensator[:scheduler], with commas between",
    )
    parser.add_argument(
        "--vary",
        help=f"NAME=VALUE,VALUE: every pair at each value; NAME is one of {', '.join(VARIED)}",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/selectors.jsonl"))
    options, words = parser.parse_known_args()
    if options.vary and options.vary.split("=")[0] not in VARIED:
        parser.error(
            f"--vary: {options.vary!r}; expected NAME=VALUE,... with NAME one of {', '.join(VARIED)}"
        )
    settings = jobs_of(words)[0].settings
    every = list(jobs(settings, options.pairs, options.vary))
    found = sorted({problem for one in every for problem in problems(one)})
    if found:
        parser.error("\n".join(found))
    lines = (
        [json.loads(line) for line in options.out.read_text().splitlines()]
        if options.out.exists()
        else []
    )
    done = {line.get("key") for line in lines}
    missing = [one for one in every if key_of(one) not in done]
    print(f"{len(every)} plans, {len(missing)} to measure", flush=True)
    if not missing:
        return
    work = pipeline.Workbench(settings)
    windows = work.heldout()
    dense = work.cached(
        "hidden",
        keys.heldout_identity(settings),
        lambda path: save_dense(work.model, windows, path),
    )
    for one in missing:
        line = line_of(one, work, windows, dense)
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        name = f"{line['selector']}:{line['compensator']}:{line['scheduler']}"
        print(
            name,
            options.vary or "",
            {kind: round(line["fidelity"][kind]["kl"], 4) for kind in line["fidelity"]},
            flush=True,
        )


if __name__ == "__main__":
    main()
