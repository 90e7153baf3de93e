"""KL to the dense model of selector and compensator pairs on held-out text, all on the same windows.

python benchmarks/accuracy_selectors.py --pairs static:surrogate,trained:surrogate,trained:none fidelity.windows=4
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from ffbench.cli.compose import jobs_of
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.stages import keys, pipeline
from ffbench.stages.fidelity import fidelity_rows, save_dense, summarise


def main() -> None:
    """Print and append one JSON line a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=lambda text: text.split(","), required=True,
                        help="selector:compensator[:scheduler], with commas between")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/selectors.jsonl"))
    options, words = parser.parse_known_args()
    settings = jobs_of(words)[0].settings
    work = pipeline.Workbench(settings)
    windows = work.heldout()
    folder = work.cached("hidden", keys.heldout_identity(settings), lambda path: save_dense(work.model, windows, path))
    for pair in options.pairs:
        selector, compensator, scheduler = [*pair.split(":"), "uniform"][:3]
        one = replace(settings, selector=replace(settings.selector, name=selector),
                      compensator=replace(settings.compensator, name=compensator),
                      scheduler=replace(settings.scheduler, name=scheduler))
        plan = pipeline.train(one, work.model, work.tokenizer, work.cached)
        figures = summarise(fidelity_rows(work.model, plan, windows, folder, settings.kernel.backend),
                            settings.fidelity.window)
        line = {"selector": selector, "compensator": compensator, "scheduler": scheduler, "sparsity": settings.sparsity,
                "rank": settings.compensator.rank, "block_size": settings.block_size, "model": settings.model.name,
                "calibration_tokens": settings.calibration.tokens, "fidelity": figures, "cpu": cpu_name(),
                "threads": torch.get_num_threads(), "git_sha": git_state()[0]}
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(pair, {kind: round(figures[kind]["kl"], 4) for kind in figures}, flush=True)


if __name__ == "__main__":
    main()
