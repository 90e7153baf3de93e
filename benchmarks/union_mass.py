"""How far the tokens of a block agree on their neurons, against block size, on held-out text.

python benchmarks/union_mass.py
python benchmarks/union_mass.py model=tiny_llama compensator.rank=8 --length 512 --windows 1

A token's own set is its best share of the neurons by (a_j |Wd_j|)^2, as many as the density keeps.
`union` is the share of neurons that any token of the block has in its set. `mass` is the energy in
the block's own best set of that size, `mass_residual` the same with the energy that the
compensator's estimate leaves. Block size 1 lets every token choose freely. The first 128 tokens of
each window are left out. The file gets a line per text, layer and block size, and their means over
the layers with layer null.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from bench_lines import arguments_of, conditions, count, settings_parser, single_job
from token_overlap import mass_share, top_mask, union_share
from torch import Tensor

from ffbench.cli.errors import guarded
from ffbench.experiment.calibration import heldout_windows
from ffbench.experiment.session import Session
from ffbench.methods.compensators import CompensatorState
from ffbench.methods.energy import residual_energy
from ffbench.training.layer_walk import LayerData, walk_layers

SCRIPT = "union_mass.py"
BLOCK_SIZES = (1, 16, 32, 64, 128, 256, 512)
FIELDS = ("union", "mass", "mass_residual")
Values = dict[str, float]


def window_values(energy: Tensor, residual: Tensor, kept: int, size: int) -> Values:
    """The FIELDS of one window: energy and residual energy [T, f], blocks of `size` tokens."""
    chosen = top_mask(energy, kept)
    values = (
        union_share(chosen, size),
        mass_share(energy, size, kept),
        mass_share(residual, size, kept),
    )
    return dict(zip(FIELDS, values, strict=True))


def mean_of(rows: Sequence[Values]) -> Values:
    """Means by name."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in FIELDS}


def layer_values(data: LayerData, state: CompensatorState, density: float) -> dict[int, Values]:
    """Means over the windows of one layer, by block size."""
    norms = data.ffn.w_down.float().norm(dim=0)
    rows: dict[int, list[Values]] = {}
    for x, a in data:
        energy = (a.float() * norms).square()
        residual = residual_energy(a, state.estimate(x), norms)
        kept = round(density * a.shape[1])
        for size in BLOCK_SIZES:
            if size <= len(x):
                rows.setdefault(size, []).append(window_values(energy, residual, kept, size))
    return {size: mean_of(values) for size, values in rows.items()}


def text_lines(model: Any, plan: Any, text: str, windows: Tensor, density: float) -> list[dict]:
    """Lines of one text: every layer and block size, then the means over layers."""
    lines: list[dict[str, Any]] = []
    by_size: dict[int, list[Values]] = {}
    for data in walk_layers(model, windows, f"overlap: {text}"):
        state = plan.layers[data.ffn.layer].on(windows.device).compensation
        for size, values in layer_values(data, state, density).items():
            lines.append({"text": text, "layer": data.ffn.layer, "block_size": size} | values)
            by_size.setdefault(size, []).append(values)
    means = [
        {"text": text, "layer": None, "block_size": size} | mean_of(rows)
        for size, rows in by_size.items()
    ]
    return lines + means


@torch.no_grad()
def run(arguments: Sequence[str]) -> int:
    """Write the lines and print the means."""
    parser = settings_parser(__doc__, "benchmarks/results/union.jsonl")
    parser.add_argument("--windows", type=count, default=2, help="held-out windows per text")
    parser.add_argument("--length", type=count, default=2048, help="tokens per window")
    options = parser.parse_intermixed_args(list(arguments))
    settings = single_job(options.settings).settings
    session = Session(settings)
    plan, density = session.trained_plan(), 1 - settings.sparsity
    device = session.model.device
    fixed = {
        "model": settings.model.name,
        "density": density,
        "windows": options.windows,
        "window_tokens": options.length,
        "rank": plan.layers[0].compensation.feature_width,
    } | conditions(SCRIPT, arguments, str(device))
    lines = []
    tokens = options.windows * options.length
    for text, windows in heldout_windows(session.tokenizer, tokens, options.length).items():
        lines += text_lines(session.model, plan, text, windows.to(device), density)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        "".join(json.dumps(fixed | line) + "\n" for line in lines), encoding="utf-8"
    )
    for line in lines:
        if line["layer"] is None:
            values = ", ".join(f"{name} {line[name]:.3f}" for name in FIELDS)
            print(f"{line['text']}, block size {line['block_size']}: {values}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
