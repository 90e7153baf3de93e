"""True shapes of published models, and those of any config.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ffbench.models.checkpoint import read_config_file
from ffbench.models.config_checks import config_problems, structure_problem
from ffbench.models.errors import ModelError
from ffbench.suggestions import unknown_name

LARGE = 4_000_000_000  # parameters of all layers, above which only some are built
SOME_LAYERS = 4  # as of the published shapes of 8B


@dataclass(frozen=True)
class ModelShape:
    """Sizes as in the model's published configuration; a CPU measures `measured_layers` of
    `layers`.
    """

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

    @property
    def layer_weights(self) -> int:
        """Weights of a layer's matrices."""
        queries, keys = self.heads * self.head_dim, self.key_value_heads * self.head_dim
        return self.hidden * (2 * queries + 2 * keys + 3 * self.intermediate)

    @property
    def outer_weights(self) -> int:
        """Weights of the embedding and the head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)


SHAPES: dict[str, ModelShape] = {
    "smollm2-135m": ModelShape("llama", 576, 1536, 30, 30, 9, 3, 64, 49152, 100_000.0, True),
    "qwen2.5-0.5b": ModelShape("qwen2", 896, 4864, 24, 24, 14, 2, 64, 151936, 1_000_000.0, True),
    "qwen3-0.6b": ModelShape("qwen3", 1024, 3072, 28, 28, 16, 8, 128, 151936, 1_000_000.0, True),
    "llama3.2-1b": ModelShape("llama", 2048, 8192, 16, 16, 32, 8, 64, 128256, 500_000.0, True),
    "llama3.2-3b": ModelShape("llama", 3072, 8192, 28, 28, 24, 8, 128, 128256, 500_000.0, True),
    "llama3.1-8b": ModelShape("llama", 4096, 14336, 32, 4, 32, 8, 128, 128256, 500_000.0, False),
    "qwen3-8b": ModelShape("qwen3", 4096, 12288, 36, 4, 32, 8, 128, 151936, 1_000_000.0, False),
}


def shape_of(model: str) -> str | None:
    """The shape of a model's configuration file, `llama32_1b` giving `llama3.2-1b`; None if
    there is none.
    """
    plain = {"".join(filter(str.isalnum, name)): name for name in SHAPES}
    return plain.get("".join(filter(str.isalnum, model)))


RESERVE = 4 * 10**9  # bytes for activations, the key-value cache and the card's own context


def layers_that_fit(name: str, free: int) -> int:
    """How many layers of a shape, in half precision, `free` bytes of a card hold during a timing:
    at least those that a CPU measures, at most all.

    Beside its weights a layer needs its down matrix once more, and a predictor as large.
    """
    s = SHAPES[name]
    layer = 2 * (s.layer_weights + 2 * s.hidden * s.intermediate)
    room = (free - RESERVE - 2 * s.outer_weights) // layer
    return max(min(room, s.layers), s.measured_layers)


def measured_layers(name: str, device: torch.device) -> int:
    """Layers of a shape that a timing on this device builds; all where a card has the room.

    Raises ModelError for an unknown name.
    """
    if name not in SHAPES:
        raise ModelError(unknown_name("shape", name, [*SHAPES, "FOLDER/config.json"]))
    if device.type != "cuda":
        return SHAPES[name].measured_layers
    return layers_that_fit(name, torch.cuda.mem_get_info(device)[0])


def is_file(name: str) -> bool:
    """Whether a shape is the path of a config.json or of a folder with one."""
    return name.endswith(".json") or "/" in name


def shown_name(name: str) -> str:
    """What results call a shape: a file by the folder that holds it."""
    if not is_file(name):
        return name
    path = Path(name).resolve()
    return path.parent.name if path.suffix == ".json" else path.name


def file_config(path: Path) -> Any:
    """The configuration in a config.json or a folder with one; of a model whose layers have more
    than LARGE parameters, the first SOME_LAYERS layers alone.

    Raises ModelError if it cannot be read, or the model cannot run sparse.
    """
    from transformers import AutoModelForCausalLM

    config = hub_config(path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    if sum(weight.numel() for weight in model.model.layers.parameters()) > LARGE:
        config.num_hidden_layers = min(config.num_hidden_layers, SOME_LAYERS)
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[: config.num_hidden_layers]
    return config


def hub_config(path: Path) -> Any:
    """A config.json as its own class. Raises ModelError as `file_config` does."""
    from transformers import CONFIG_MAPPING

    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise ModelError(f"shape: {path} is not a file; give a model's config.json")
    values = read_config_file(path, "shape")
    kind = str(values.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise ModelError(f"shape: {path}: transformers does not know model_type {kind!r}")
    problems = config_problems(values)
    if not problems:
        try:
            config = CONFIG_MAPPING[kind].from_dict(values)
            problem = structure_problem(config)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            first = str(error).partition("\n")[0]
            raise ModelError(f"shape: {path} cannot be used ({first})") from error
        if problem is None:
            return config
        problems = [problem]
    raise ModelError("; ".join(f"shape: {path}: {one.removeprefix('model: ')}" for one in problems))


def shape_config(name: str, layers: int | None = None) -> Any:
    """The transformers configuration of a shape: a name of SHAPES with so many layers (None: those
    that a CPU measures), or a config.json.

    Raises ModelError for an unknown name, naming the valid ones, and for a file that is damaged or
    whose FFNs cannot run sparse.
    """
    import transformers

    if is_file(name):
        return file_config(Path(name))
    if name not in SHAPES:
        raise ModelError(unknown_name("shape", name, [*SHAPES, "FOLDER/config.json"]))
    s = SHAPES[name]
    extra = {} if s.family == "qwen2" else {"head_dim": s.head_dim}
    return getattr(transformers, f"{s.family.capitalize()}Config")(
        vocab_size=s.vocabulary,
        hidden_size=s.hidden,
        intermediate_size=s.intermediate,
        num_hidden_layers=s.measured_layers if layers is None else layers,
        num_attention_heads=s.heads,
        num_key_value_heads=s.key_value_heads,
        max_position_embeddings=32768,
        rope_theta=s.rope_theta,
        tie_word_embeddings=s.tied,
        **extra,
    )
