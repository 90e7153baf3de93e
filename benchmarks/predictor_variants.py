"""Variants of the trained predictor: trained on the same activations, judged on the same blocks.

python benchmarks/predictor_variants.py --layers 3,9,15
python benchmarks/predictor_variants.py --kl mean-linear-prior-residual-log

Without --kl every variant is compared on a few layers; with it the named ones are trained in every
layer and run through the model. Lines go to --out; a line that is there already (by `key`) is not
made again. A quarter of the calibration windows decides when training stops; nothing is chosen on
held-out text. Lines of kind `reference`: the static prior, the oracle, the predictor that plans use
(`closed_form`) and probe tokens. SETTINGS are those of `python -m ffbench`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from bench_lines import (
    QUIET,
    append,
    arguments_of,
    conditions,
    count,
    keys_of,
    numbers,
    settings_parser,
    single_job,
)
from torch import Tensor
from variants.bench import RATE, Bench, Material, material_of
from variants.metrics import choice_metrics
from variants.predictor import BlockPredictor, Variant
from variants.training import train_variant

from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.bootstrap import interval
from ffbench.evaluation.fidelity import measure, save_dense, summary
from ffbench.experiment.fidelity_cases import fidelity_cases
from ffbench.methods.flops import flops_of
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.selectors import Selector, SelectorInputs
from ffbench.methods.tensors import AxisTensors
from ffbench.models.adapters import gated_ffns
from ffbench.training.layer_walk import walk_layers

SCRIPT = "predictor_variants.py"
VARIANTS = [
    Variant(),
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


@dataclass(frozen=True)
class VariantSelector(Selector):
    """Scores of the trained predictors, each found by its layer's number; not registered."""

    name: ClassVar[str] = "variant"
    predictors: ClassVar[dict[int, BlockPredictor]] = {}

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """The log-scores of the layer's predictor."""
        number = int(inputs.layer.selector_tensors["layer"])
        return self.predictors[number](inputs.blocks)

    def flops(self, layer: LayerPlan, d: int, block_size: int) -> float:
        """Those of the layer's predictor, shared by the block's tokens."""
        number = int(layer.selector_tensors["layer"])
        return self.predictors[number].flops(block_size) / block_size


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over layers."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def gaps_closed(row: dict[str, float], base: dict[str, dict[str, float]]) -> dict[str, float]:
    """How far a row is from the static prior (0) to the oracle (1)."""
    low, high = base["static"], base["oracle"]
    return {
        f"{name}_gap_closed": (row[name] - low[name]) / (high[name] - low[name])
        for name in ("retained_energy", "output_error")
    }


def variant_row(bench: Bench, variant: Variant, material: Material) -> dict[str, Any]:
    """One variant trained on each layer: metrics, share of the FFN's FLOPs, seconds per layer."""
    start, rows, share = time.perf_counter(), [], 0.0
    for (learning, checking), blocks, _ in material.values():
        predictor = train_variant(
            variant, learning, checking, bench.block_size, bench.kept, bench.steps, rate=RATE
        )
        rows.append(choice_metrics(blocks, predictor(blocks.x)))
        d, f = blocks.w_down.shape
        share = predictor.flops(bench.block_size) / (6.0 * d * f * bench.block_size)
    seconds = (time.perf_counter() - start) / len(material)
    return mean_of(rows) | {"flops_share": share, "seconds": seconds}


def compare_on_layers(
    bench: Bench, layers: Sequence[int], windows: int, done: set[str], write: Callable[..., None]
) -> None:
    """A line for every reference and variant."""
    what = {"layers": list(layers), "windows": windows}
    missing = [variant for variant in VARIANTS if bench.key(what | asdict(variant)) not in done]
    if not missing:
        return
    material = material_of(bench, layers, windows)
    names = next(iter(material.values()))[2]
    base = {
        name: mean_of(
            [choice_metrics(blocks, scores[name]) for _, blocks, scores in material.values()]
        )
        for name in names
    }
    shared = {"layers": list(layers), "blocks": len(next(iter(material.values()))[1].x)}
    for name, row in base.items():
        key = bench.key(what | {"reference": name})
        if key not in done:
            write(key, "reference", name, shared | row | gaps_closed(row, base))
    for variant in missing:
        row = variant_row(bench, variant, material)
        values = shared | asdict(variant) | row | gaps_closed(row, base)
        write(bench.key(what | asdict(variant)), "form", variant.name, values)


def through_model(
    bench: Bench, variants: Sequence[Variant], done: set[str], write: Callable[..., None]
) -> None:
    """A line with the fidelity of each variant, trained in every layer."""
    session, s = bench.session, bench.settings
    stage = session.stages.dense_tails
    assert stage is not None, "run() refuses fidelity without windows"
    cases = fidelity_cases(s.fidelity, session.tokenizer)
    dense = session.cached(stage, lambda folder: save_dense(session.model, cases, folder))
    layers = [
        replace(
            layer, selector_tensors=AxisTensors({"layer": torch.tensor([i])}, {"layer": ("one",)})
        )
        for i, layer in enumerate(bench.plan.layers)
    ]
    for variant in variants:
        key = bench.key({"kl": asdict(variant)})
        if key in done:
            continue
        for data in walk_layers(session.model, bench.windows, variant.name):
            with torch.enable_grad():
                learning, checking = bench.learned(data)
                VariantSelector.predictors[data.ffn.layer] = train_variant(
                    variant,
                    learning,
                    checking,
                    bench.block_size,
                    bench.kept,
                    bench.steps,
                    rate=RATE,
                )
        settings = replace(bench.plan.settings, selector=VariantSelector())
        plan = SparsePlan(settings, bench.plan.fingerprint, layers)
        measured = measure(session.model, plan, cases, dense, s.kernel.backend)
        used = flops_of(plan).whole_prompt(measured.density)
        fidelity = summary(measured, used, interval)
        fidelity.pop("rows")
        write(key, "kl", variant.name, asdict(variant) | {"fidelity": fidelity})


def run(arguments: Sequence[str]) -> int:
    """Compare all variants on a few layers, or run some of them through the model."""
    names = {variant.name: variant for variant in VARIANTS}
    parser = settings_parser(__doc__, "benchmarks/results/predictors.jsonl")
    parser.add_argument(
        "--kl", action="append", choices=sorted(names), metavar="VARIANT", help="may be repeated"
    )
    parser.add_argument("--layers", type=numbers, default=[3, 9, 15], metavar="N,N")
    parser.add_argument("--windows", type=count, default=2, help="held-out windows per text")
    parser.add_argument("--steps", type=count, default=100, help="of training")
    parser.add_argument("--every", type=count, default=1, help="learn from every n-th window")
    options = parser.parse_intermixed_args(list(arguments))
    # every layer keeps the same number of neurons, and the compensator is a closed form
    settings = single_job(options.settings, [*QUIET, "scheduler=uniform"]).settings
    if options.kl and not settings.fidelity.windows:
        return refuse(["fidelity.windows: 0 is too small; choose 1 or more"])
    bench = Bench(settings, options.steps, options.every)
    last = len(gated_ffns(bench.session.model)) - 1
    if wrong := [layer for layer in options.layers if not 0 <= layer <= last]:
        return refuse([f"--layers: {wrong[0]} is not in 0..{last}, the model's layers"])
    write = writer(bench, options.out, arguments)
    done = keys_of(options.out)
    if options.kl:
        through_model(bench, [names[name] for name in options.kl], done, write)
    else:
        compare_on_layers(bench, options.layers, options.windows, done, write)
    return 0


def writer(bench: Bench, out: Path, arguments: Sequence[str]) -> Callable[..., None]:
    """A function that appends and prints a line."""
    fixed = bench.fixed() | conditions(SCRIPT, arguments, str(bench.session.model.device))

    def write(key: str, kind: str, name: str, values: dict[str, Any]) -> None:
        append(out, {"key": key, "kind": kind, "name": name} | fixed | values)
        shown = {n: round(value, 4) for n, value in values.items() if isinstance(value, float)}
        if kind == "kl":
            tails = values["fidelity"]["tails"]
            shown = {tail: round(row["kl"], 4) for tail, row in tails.items()}
        print(name, shown, flush=True)

    return write


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
