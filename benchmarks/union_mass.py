"""Union of the tokens' neurons, and energy that one set can hold, against block size, on held-out
text.

python benchmarks/union_mass.py python benchmarks/union_mass.py model=tiny_llama block_size=32
fidelity.window=512 compensator.rank=8 --out /tmp/union.jsonl

A token's own set is its best half of the neurons by (a_j |Wd_j|)^2. `mass` is that energy in the
block's own best half, `mass_residual` the same with the energy that the surrogate leaves over.
Block 1 is free choice by token. The first 128 tokens of each window are left out. Writes a line a
text, layer and block size, and their mean with layer null.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from token_overlap import mass_share, top_mask, union_share

from ffbench.cli.compose import jobs_of
from ffbench.experiment import pipeline
from ffbench.methods.compensators.surrogate import residual_energy
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.training.layer_walk import LayerData, walk_layers

BLOCKS = (1, 16, 32, 64, 128, 256, 512)
FIELDS = ("union", "mass", "mass_residual")


def layer_lines(
    data: LayerData, surrogate: Any, windows: int, density: float, blocks: list[int]
) -> dict[int, dict]:
    """Means over the windows of one layer, by block size."""
    norms, sums = (
        data.ffn.w_down.float().norm(dim=0),
        {size: dict.fromkeys(FIELDS, 0.0) for size in blocks},
    )
    for x, a in data:
        plain = (a.float() * norms).square()
        left = residual_energy(a, surrogate.estimate(x), norms)
        kept = round(density * a.shape[1])
        chosen = top_mask(plain, kept)
        for size in blocks:
            values = (
                union_share(chosen, size),
                mass_share(plain, size, kept),
                mass_share(left, size, kept),
            )
            for name, value in zip(FIELDS, values, strict=True):
                sums[size][name] += value / windows
    return sums


@torch.no_grad()
def main() -> None:
    """Write the lines and print the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/union.jsonl"))
    parser.add_argument("--windows", type=int, default=2, help="held-out windows a text")
    options, words = parser.parse_known_args()
    settings = jobs_of(words)[0].settings
    work = pipeline.Workbench(settings)
    plan = pipeline.train(settings, work.model, work.tokenizer, work.cached)
    fixed = {
        "model": settings.model.name,
        "density": 1 - settings.sparsity,
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "git_sha": git_state()[0],
        "windows": options.windows,
        "rank": plan.layers[0].surrogate.rank,
    }
    lines = []
    for text, batch in work.heldout().items():
        batch = batch[: options.windows]
        sums: dict[int, dict[str, float]] = defaultdict(lambda: dict.fromkeys(FIELDS, 0.0))
        for i, data in enumerate(walk_layers(work.model, batch, f"union: {text}")):
            blocks = [size for size in BLOCKS if size <= len(data.inputs[0])]
            found = layer_lines(
                data, plan.layers[i].surrogate, len(batch), 1 - settings.sparsity, blocks
            )
            for size, values in found.items():
                lines.append(fixed | {"text": text, "layer": i, "block": size} | values)
                for name, value in values.items():
                    sums[size][name] += value / len(plan.layers)
        lines += [
            fixed | {"text": text, "layer": None, "block": size} | values
            for size, values in sums.items()
        ]
    options.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for line in lines:
        if line["layer"] is None:
            print(line["text"], line["block"], {name: round(line[name], 3) for name in FIELDS})


if __name__ == "__main__":
    main()
