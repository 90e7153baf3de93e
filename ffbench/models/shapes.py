"""True shapes of published models, built with random weights: enough to measure time, never
accuracy.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import LayerPlan, PlanSettings, SparsePlan
from ffbench.methods.schedulers import LayerMeasurements, schedule
from ffbench.methods.selectors.predictor import Predictor
from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import NEURON, AxisTensors
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import DTYPES, ModelError


@dataclass(frozen=True)
class ModelShape:
    """Sizes as in the model's published configuration; `measured_layers` of `layers` are built."""

    family: str
    hidden: int
    intermediate: int
    layers: int
    measured_layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    rope_theta: float
    tied: bool


SHAPES: dict[str, ModelShape] = {
    "smollm2-135m": ModelShape("llama", 576, 1536, 30, 30, 9, 3, 64, 49152, 100_000.0, True),
    "qwen2.5-0.5b": ModelShape("qwen2", 896, 4864, 24, 24, 14, 2, 64, 151936, 1_000_000.0, True),
    "qwen3-0.6b": ModelShape("qwen3", 1024, 3072, 28, 28, 16, 8, 128, 151936, 1_000_000.0, True),
    "llama3.2-1b": ModelShape("llama", 2048, 8192, 16, 16, 32, 8, 64, 128256, 500_000.0, True),
    "llama3.1-8b": ModelShape("llama", 4096, 14336, 32, 4, 32, 8, 128, 128256, 500_000.0, False),
    "qwen3-8b": ModelShape("qwen3", 4096, 12288, 36, 4, 32, 8, 128, 151936, 1_000_000.0, False),
}


def shape_of(model: str) -> str | None:
    """The shape of a model's configuration file, `llama32_1b` giving `llama3.2-1b`; None where
    there is none.
    """
    plain = {"".join(filter(str.isalnum, name)): name for name in SHAPES}
    return plain.get("".join(filter(str.isalnum, model)))


def shape_config(name: str) -> Any:
    """The transformers configuration of a shape. Raises ModelError for an unknown name, naming the
    valid ones.
    """
    import transformers

    if name not in SHAPES:
        raise ModelError(f"shape: {name!r} is unknown; valid: {', '.join(SHAPES)}")
    s = SHAPES[name]
    extra = {} if s.family == "qwen2" else {"head_dim": s.head_dim}
    return getattr(transformers, f"{s.family.capitalize()}Config")(
        vocab_size=s.vocabulary,
        hidden_size=s.hidden,
        intermediate_size=s.intermediate,
        num_hidden_layers=s.measured_layers,
        num_attention_heads=s.heads,
        num_key_value_heads=s.key_value_heads,
        max_position_embeddings=32768,
        rope_theta=s.rope_theta,
        tie_word_embeddings=s.tied,
        **extra,
    )


def build_shape(name: str, dtype: str = "float32", seed: int = 0, layers: int | None = None) -> Any:
    """Model in eval mode with random weights, attention by SDPA; `layers` instead of the shape's
    own number.

    Raises ModelError for an unknown shape or dtype.
    """
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise ModelError(f"model.dtype: {dtype!r} is unknown; valid: {', '.join(DTYPES)}")
    config = shape_config(name)
    if layers is not None:
        config.num_hidden_layers = layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, dtype=DTYPES[dtype], attn_implementation="sdpa"
        )
    return model.eval().requires_grad_(False)


def random_plan(model: Any, settings: PlanSettings, seed: int = 0) -> SparsePlan:
    """A plan of the given settings whose predictor and compensator are random: for timing only.

    Every part has the sizes of a fitted one, so it costs the same.
    """
    generator = torch.Generator().manual_seed(seed)
    ffns = gated_ffns(model)
    f, d = ffns[0].w_gate.shape

    def draw(*shape: int) -> Tensor:
        if 0 in shape:
            return torch.zeros(shape)
        return torch.randn(*shape, generator=generator) * shape[-1] ** -0.5

    mixing, values = [1.0] * len(ffns), torch.rand(len(ffns), f, generator=generator)
    measurements = LayerMeasurements(
        len(ffns), f, 1 - settings.sparsity, lambda mass: mixing, lambda measure: values
    )
    group = settings.group_size
    layers = []
    kept = schedule(settings.scheduler, measurements, group)
    for ffn, count in zip(ffns, kept, strict=True):
        statistics = {
            name: torch.rand(f, generator=generator)
            for name, axes in STATISTIC_AXES.items()
            if axes == (NEURON,)
        }
        layers.append(
            LayerPlan(
                count,
                min(round(settings.hot_fraction * count / group) * group, count),
                torch.arange(f),
                settings.compensator.random_state(d, f, draw),
                Predictor(draw(d), draw(f, d), torch.rand(f, generator=generator) + 0.5),
                AxisTensors(statistics, {name: STATISTIC_AXES[name] for name in statistics}),
                AxisTensors(
                    settings.selector.prepare(ffn.w_gate, ffn.w_up, ffn.w_down),
                    dict(settings.selector.tensor_axes),
                ),
            )
        )
    return SparsePlan(settings, {"model": "random"}, layers)
