"""What a map of the output gains where it is fitted on the sparse model's inputs, over the dense
model's.

python benchmarks/map_inputs.py [hydra words]

The plan is that of the words (default: the main job's at sparsity 0.5). One JSON line a kind of
input goes to --out.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ffbench.cli.compose import jobs_of
from ffbench.evaluation.fidelity import fidelity_rows, save_dense, summarise
from ffbench.experiment import identity as keys
from ffbench.experiment import pipeline
from ffbench.experiment.calibration import training_text
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.training.output_map import fit_leftover_maps
from ffbench.training.plan_builder import MAP_WINDOWS
from ffbench.validation import problems


def main() -> None:
    """Fit both, judge both on the same held-out windows, print and append a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/map_inputs.jsonl"))
    options, words = parser.parse_known_args()
    every = jobs_of(["compensator=surrogate_map", *words])
    found = [problem for job in every for problem in problems(job.settings)]
    if found or len(every) > 1:
        parser.error("\n".join(found) or f"the words make {len(every)} plans; give one value each")
    settings = every[0].settings
    rank = settings.compensator.map_rank
    bare = replace(
        settings, compensator=replace(settings.compensator, name="surrogate", map_rank=0)
    )
    work = pipeline.Workbench(settings)
    plan = pipeline.train(bare, work.model, work.tokenizer, work.cached)
    text = training_text(settings, work.tokenizer).calibration
    windows = work.heldout()
    dense = work.cached(
        "hidden",
        keys.heldout_identity(settings),
        lambda path: save_dense(work.model, windows, path),
    )
    for inputs in ("sparse", "dense"):
        maps = fit_leftover_maps(
            work.model, plan, text[:: max(1, len(text) // MAP_WINDOWS)], rank, inputs == "dense"
        )
        mapped = replace(
            plan,
            settings=keys.plan_settings(settings),
            layers=[
                replace(layer, output_map=one) for layer, one in zip(plan.layers, maps, strict=True)
            ],
        )
        figures = summarise(
            fidelity_rows(work.model, mapped, windows, dense, settings.kernel.backend),
            settings.fidelity.window,
        )
        line = {
            "inputs": inputs,
            "plan": asdict(mapped.settings),
            "model": settings.model.name,
            "fidelity": figures,
            "cpu": cpu_name(),
            "threads": torch.get_num_threads(),
            "git_sha": git_state()[0],
        }
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(inputs, {kind: round(one["kl"], 4) for kind, one in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
