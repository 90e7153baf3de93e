"""Models and plans of random numbers in true shapes: enough to measure time, never accuracy."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import LayerPlan, PlanSettings, SparsePlan
from ffbench.methods.schedulers import LayerMeasurements, by_width, schedule
from ffbench.methods.selectors import Selector
from ffbench.methods.selectors.predictor import Predictor
from ffbench.methods.similar_blocks import SORTED
from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import NEURON, AxisTensors
from ffbench.methods.token_scale import SCALE_AXES
from ffbench.models.adapters import gated_ffns
from ffbench.models.device import DTYPES
from ffbench.models.errors import ModelError
from ffbench.models.shapes import is_file, measured_layers, shape_config

CPU = torch.device("cpu")
DRAWN = 1_000_003  # random numbers; a prime, so that no two rows of a matrix are the same
SPREAD = 0.02  # standard deviation of most models' first weights


def build_shape(
    name: str,
    dtype: str = "float32",
    seed: int = 0,
    device: torch.device = CPU,
    layers: int | None = None,
) -> Any:
    """Model in eval mode with random weights made on `device` (`fill_randomly`), attention by SDPA;
    `layers` instead of as many as the device measures.

    Raises ModelError for an unknown shape or dtype.
    """
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    if dtype not in DTYPES:
        raise ModelError(f"model.dtype: {dtype!r} is unknown; valid: {', '.join(DTYPES)}")
    if layers is None and not is_file(name):
        layers = measured_layers(name, device)
    config = shape_config(name, None if is_file(name) else layers)
    if layers is not None:
        config.num_hidden_layers = layers
    with no_init_weights(), device:
        model = AutoModelForCausalLM.from_config(
            config, dtype=DTYPES[dtype], attn_implementation="sdpa"
        )
    model.tie_weights()
    fill_randomly(model, seed)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def fill_randomly(model: Any, seed: int) -> None:
    """Normal numbers of the usual spread for every matrix, one for every scale, zero for every
    bias. The same numbers are repeated: a processor takes seconds to draw the 10^8 numbers of an
    embedding, and speed does not depend on them.
    """
    drawn = torch.randn(DRAWN, generator=torch.Generator().manual_seed(seed)) * SPREAD
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        numbers, flat = drawn.to(weight), weight.view(-1)
        for part in flat.split(DRAWN):
            part.copy_(numbers[: len(part)])


def random_predictor(
    settings: PlanSettings, f: int, d: int, draw: Callable[..., Tensor], generator: torch.Generator
) -> Predictor:
    """A predictor of random numbers with the sizes and dtypes of a fitted one."""
    selector = settings.selector
    rank = selector.predictor_rank if isinstance(selector, Selector) else None
    width = d if rank is None else min(rank, d, f)
    mean, weights = draw(d), draw(f, width).half()
    prior = torch.rand(f, generator=generator) + 0.5
    return Predictor(mean, weights, prior, None if rank is None else draw(width, d).half())


def random_kept(
    settings: PlanSettings, layers: int, f: int, generator: torch.Generator
) -> list[int]:
    """Kept neurons of layers of f neurons by the scheduler, whose measurements are random."""
    mixing, values = [1.0] * layers, torch.rand(layers, f, generator=generator)
    measurements = LayerMeasurements(
        layers, f, 1 - settings.sparsity, lambda mass: mixing, lambda measure: values
    )
    return schedule(settings.scheduler, measurements, settings.group_size)


def random_plan(model: Any, settings: PlanSettings, seed: int = 0) -> SparsePlan:
    """A plan of the given settings whose predictor and compensator are random: for timing only.

    Every part has the sizes of a fitted one, so it costs the same.
    """
    generator = torch.Generator().manual_seed(seed)
    ffns = gated_ffns(model)
    d = ffns[0].w_gate.shape[1]

    def draw(*shape: int) -> Tensor:
        if 0 in shape:
            return torch.zeros(shape)
        return torch.randn(*shape, generator=generator) * shape[-1] ** -0.5

    group = settings.group_size
    layers = []
    widths = [len(ffn.w_gate) for ffn in ffns]
    kept = by_width(widths, lambda number, f: random_kept(settings, number, f, generator))
    for ffn, f, count in zip(ffns, widths, kept, strict=True):
        statistics = {
            name: torch.rand(f, generator=generator)
            for name, axes in STATISTIC_AXES.items()
            if axes == (NEURON,)
        }
        compensation = settings.compensator.random_state(d, f, draw)
        if settings.blocks == SORTED:
            sizes = {"input": d, "rank": compensation.feature_width, "scalar": 1}
            statistics |= {name: draw(sizes[axis]) for name, (axis,) in SCALE_AXES.items()}
        layers.append(
            LayerPlan(
                count,
                min(round(settings.hot_fraction * count / group) * group, count),
                torch.arange(f),
                compensation,
                random_predictor(settings, f, d, draw, generator),
                AxisTensors(statistics, {name: STATISTIC_AXES[name] for name in statistics}),
                AxisTensors(
                    settings.selector.prepare(ffn.w_gate, ffn.w_up, ffn.w_down),
                    dict(settings.selector.tensor_axes),
                ),
            )
        )
    places = [ffn.place for ffn in ffns]
    return SparsePlan(settings, {"model": "random"}, layers, places=places)
