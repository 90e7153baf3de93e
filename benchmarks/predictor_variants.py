"""Forms of the trained predictor, trained on the same calibration activations and judged on the
same held-out blocks.

python benchmarks/predictor_variants.py                                      # every variant on a few
layers python benchmarks/predictor_variants.py --kl mean-linear-prior-residual-log  # one variant in
all layers, through the model

Lines go to --out; what it holds already (by `key`) is not done again. A quarter of the calibration
windows decides when training stops; nothing is chosen on held-out text. `reference` lines: the
static prior, the oracle, the predictor that plans use (`closed_form`) and probe tokens.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from variants.data import Examples, examples
from variants.predictor import BlockPredictor, Variant
from variants.metrics import HeldOutBlocks, choice_metrics
from variants.training import train_variant

from ffbench.cli.compose import jobs_of
from ffbench.evaluation.fidelity import fidelity_rows, save_dense, summarise
from ffbench.experiment import identity as keys
from ffbench.experiment import pipeline
from ffbench.experiment.calibration import calibration_windows
from ffbench.methods.compensators.surrogate import residual_energy
from ffbench.methods.plan import SparsePlan
from ffbench.methods.selectors import SELECTORS, Scene, Selector
from ffbench.models.adapters import gated_ffns
from ffbench.runs.identity import content_key
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.training.layer_walk import LayerData, walk_layers

BASE = Variant()
VARIANTS = [
    BASE,
    Variant(prior=False),
    Variant(pooling="max"),
    Variant(pooling="attention"),
    Variant(head="low_rank"),
    Variant(head="low_rank", width=32),
    Variant(head="mlp"),
    Variant(head="mlp", prior=False),
    Variant(target="griffin"),
    Variant(target="output"),
    Variant(loss="bce"),
    Variant(loss="listwise"),
    Variant(target="output", loss="listwise"),
    Variant(pooling="attention", head="mlp"),
    Variant(pooling="attention", head="low_rank", loss="listwise"),
    Variant(head="low_rank", loss="listwise"),
    Variant(pooling="token", head="low_rank", width=32),
]
LAYERS = (3, 9, 15)
RATE = 2e-4


class Bench:
    """The model with its plan, and the text to learn from and to judge on."""

    def __init__(self, words: list[str], steps: int, every: int) -> None:
        self.settings = jobs_of(words)[0].settings
        self.work, self.steps = pipeline.Workbench(self.settings), steps
        self.plan = pipeline.train(
            self.settings, self.work.model, self.work.tokenizer, self.work.cached
        )
        self.block, self.kept = self.settings.block_size, self.plan.layers[0].kept
        c = self.settings.calibration
        both = calibration_windows(self.work.tokenizer, max(c.tokens // 2, c.window), c.window)
        self.windows = torch.cat(list(both.values()))[::every]
        self.fixed = {
            "model": self.settings.model.name,
            "sparsity": self.settings.sparsity,
            "block_size": self.block,
            "rank": self.settings.compensator.rank,
            "steps": steps,
            "windows_learned": len(self.windows),
            "rate": RATE,
            "cpu": cpu_name(),
            "threads": torch.get_num_threads(),
            "git_sha": git_state()[0],
        }

    def key(self, what: dict[str, Any]) -> str:
        """Names a line."""
        return content_key(
            keys.training_identity(self.settings)
            | keys.heldout_identity(self.settings)
            | {
                "plan": asdict(keys.plan_settings(self.settings)),
                "steps": self.steps,
                "learned": len(self.windows),
                "rate": RATE,
            }
            | what
        )

    def learned(self, data: LayerData) -> tuple[Examples, Examples]:
        """Examples to learn from, and those that decide when to stop: every fourth window."""
        every = examples(data, self.plan.layers[data.ffn.layer].surrogate)
        check = torch.arange(len(every.x)) % 4 == 3
        return tuple(
            Examples(every.x[part], {name: one[part] for name, one in every.worth.items()})  # type: ignore[return-value]
            for part in (~check, check)
        )

    def blocks(self, data: LayerData) -> HeldOutBlocks:
        """Held-out blocks of a layer."""
        layer, w_down = self.plan.layers[data.ffn.layer], data.ffn.w_down.float()
        xs, lefts, dense = [], [], []
        for x, a in data:
            whole = len(x) // self.block * self.block
            x, a = x[:whole].float(), a[:whole].float()
            xs.append(x.view(-1, self.block, x.shape[1]))
            lefts.append((a - layer.surrogate.estimate(x)).view(-1, self.block, a.shape[1]))
            dense.append((a @ w_down.T).square().sum(1).view(-1, self.block).sum(1))
        x, left = torch.cat(xs), torch.cat(lefts)
        worth = residual_energy(left, torch.zeros(()), w_down.norm(dim=0)).mean(1)
        return HeldOutBlocks(x, left, worth, torch.cat(dense), w_down, self.kept)

    def references(self, data: LayerData, blocks: HeldOutBlocks) -> dict[str, Tensor]:
        """Scores of the rules that the variants are measured against."""
        layer = self.plan.layers[data.ffn.layer]
        act: Any = data.ffn.module.act_fn  # type: ignore[assignment]
        scene = Scene(
            layer, blocks.x[0], blocks.x, data.activations, act, blocks.w_down.norm(dim=0), 0
        )
        toward = (blocks.left @ blocks.w_down.T) @ blocks.w_down
        output = (2 * blocks.left * toward).mean(1) - blocks.worth
        return {
            "static": SELECTORS["static"](scene),
            "closed_form": SELECTORS["trained"](scene),
            "probe": SELECTORS["probe"](scene),
            "oracle": blocks.worth,
            "oracle_output": output,
        }


@torch.no_grad()
def collect(
    bench: Bench, layers: tuple[int, ...], windows: int
) -> dict[int, tuple[Any, HeldOutBlocks, dict[str, Tensor]]]:
    """Learning and judging material of some layers."""
    found: dict[int, Any] = {}
    for data in islice(
        walk_layers(bench.work.model, bench.windows, "calibration"), max(layers) + 1
    ):
        if data.ffn.layer in layers:
            found[data.ffn.layer] = bench.learned(data)
    held = torch.cat([batch[:windows] for batch in bench.work.heldout().values()])
    held_out = {}
    for data in islice(walk_layers(bench.work.model, held, "held out"), max(layers) + 1):
        if data.ffn.layer in layers:
            blocks = bench.blocks(data)
            held_out[data.ffn.layer] = (
                found[data.ffn.layer],
                blocks,
                bench.references(data, blocks),
            )
    return held_out


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over layers."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def compare(bench: Bench, out: Path, layers: tuple[int, ...], windows: int) -> None:
    """A line for every reference and variant."""
    done = held_keys(out)
    what = {"layers": list(layers), "windows": windows}
    missing = [variant for variant in VARIANTS if bench.key(what | asdict(variant)) not in done]
    if not missing:
        return
    material = collect(bench, layers, windows)
    base = {
        name: mean_of(
            [choice_metrics(blocks, scores[name]) for _, blocks, scores in material.values()]
        )
        for name in next(iter(material.values()))[2]
    }
    shared = bench.fixed | {
        "layers": list(layers),
        "blocks": len(next(iter(material.values()))[1].x),
    }

    def write(name: str, kind: str, row: dict[str, Any], key: str) -> None:
        low, high = base["static"], base["oracle"]
        closed = {
            f"{one}_gap_closed": (row[one] - low[one]) / (high[one] - low[one])
            for one in ("retained_energy", "output_error")
        }
        append(out, {"key": key, "kind": kind, "name": name} | shared | row | closed)

    for name, row in base.items():
        if (key := bench.key(what | {"reference": name})) not in done:
            write(name, "reference", row, key)
    for variant in missing:
        start, rows, flops = time.perf_counter(), [], 0.0
        for (learning, checking), blocks, _ in material.values():
            predictor = train_variant(
                variant, learning, checking, bench.block, bench.kept, bench.steps, rate=RATE
            )
            rows.append(choice_metrics(blocks, predictor(blocks.x)))
            flops = predictor.flops(bench.block) / (
                6.0 * blocks.x.shape[2] * blocks.worth.shape[1] * bench.block
            )
        write(
            variant.name,
            "variant",
            asdict(variant)
            | mean_of(rows)
            | {"flops_share": flops, "seconds": (time.perf_counter() - start) / len(material)},
            bench.key(what | asdict(variant)),
        )


def through_model(bench: Bench, out: Path, variants: list[Variant]) -> None:
    """A line with the KL of each variant, trained in every layer."""
    settings, work = bench.settings, bench.work
    windows = work.heldout()
    dense = work.cached(
        "hidden",
        keys.heldout_identity(settings),
        lambda path: save_dense(work.model, windows, path),
    )
    predictors: dict[int, BlockPredictor] = {}
    SELECTORS["variant"] = Selector(
        "variant", lambda scene: predictors[int(scene.layer.extra["layer"])](scene.blocks)
    )
    for variant in variants:
        key = bench.key({"kl": asdict(variant)})
        if key in held_keys(out):
            continue
        for data in walk_layers(work.model, bench.windows, variant.name):
            with torch.enable_grad():
                learning, checking = bench.learned(data)
                predictors[data.ffn.layer] = train_variant(
                    variant, learning, checking, bench.block, bench.kept, bench.steps, rate=RATE
                )
        layers = [
            replace(layer, extra={"layer": torch.tensor(i)})
            for i, layer in enumerate(bench.plan.layers)
        ]
        plan = SparsePlan(
            replace(bench.plan.settings, selector="variant"), bench.plan.fingerprint, layers
        )
        found = summarise(fidelity_rows(work.model, plan, windows, dense), settings.fidelity.window)
        append(
            out,
            {"key": key, "kind": "kl", "name": variant.name}
            | bench.fixed
            | asdict(variant)
            | {"fidelity": found},
        )


def held_keys(out: Path) -> set[str]:
    """Keys of the lines that a file holds."""
    return (
        {json.loads(line)["key"] for line in out.read_text().splitlines()}
        if out.exists()
        else set()
    )


def append(out: Path, line: dict[str, Any]) -> None:
    """Add a line and show it."""
    with out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    shown = {name: round(value, 4) for name, value in line.items() if isinstance(value, float)}
    print(line["name"], line["fidelity"]["mean"]["kl"] if "fidelity" in line else shown, flush=True)


def main() -> None:
    """Compare all variants on a few layers, or run some of them through the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = {variant.name: variant for variant in VARIANTS}
    parser.add_argument("--kl", nargs="+", choices=sorted(names), default=[], metavar="FORM")
    parser.add_argument("--layers", type=int, nargs="+", default=list(LAYERS))
    parser.add_argument(
        "--windows", type=int, default=2, help="held-out windows a text for the comparison"
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--every", type=int, default=1, help="learn from every n-th calibration window"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/predictors.jsonl"))
    options, words = parser.parse_known_args()
    bench = Bench(words, options.steps, options.every)
    count = len(gated_ffns(bench.work.model))
    if max(options.layers) >= count:
        parser.error(f"--layers: the model has layers 0 to {count - 1}")
    if options.kl:
        through_model(bench, options.out, [names[name] for name in options.kl])
    else:
        compare(bench, options.out, tuple(options.layers), options.windows)


if __name__ == "__main__":
    main()
