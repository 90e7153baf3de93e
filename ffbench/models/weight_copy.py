"""A copy of a model's weights that other processes load quickly."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from ffbench.models.checkpoint import WHOLE
from ffbench.models.loading import ModelSpec, weight_files

logger = logging.getLogger(__name__)


def write_checkpoint(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write configuration, weights and tokenizer as a folder that `load_model` takes.

    `save_pretrained` refuses models that were read from GGUF, although they hold plain weights.
    Parameters with two names (tied ones) are written once.
    """
    config = deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = [type(model).__name__]  # a GGUF file does not name it; vLLM needs it
    first_names = dict(model.named_parameters())
    second_names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tensors = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name in first_names or name not in second_names
    }
    config.save_pretrained(folder)
    save_file(tensors, folder / WHOLE, metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


@contextmanager
def quick_to_load(spec: ModelSpec, model: Any, tokenizer: Any) -> Iterator[ModelSpec]:
    """Inside, a spec that loads `model` quickly in other processes.

    A GGUF file is parsed and dequantised anew by each of them, its vocabulary three times, so its
    weights are written to a temporary folder as they are now. Other sources keep their spec, and so
    does GGUF where there is no room for the copy.
    """
    if not any(path.suffix == ".gguf" for path in weight_files(spec)):
        yield spec
        return
    with TemporaryDirectory(prefix="ffbench-", ignore_cleanup_errors=True) as folder:
        try:
            write_checkpoint(Path(folder), model, tokenizer)
        except (OSError, SafetensorError) as error:
            logger.warning("loading takes longer, since the weights could not be copied: %s", error)
            yield spec
            return
        dtype = str(model.dtype).removeprefix("torch.")
        yield replace(spec, source="folder", location=folder, file=None, dtype=dtype)
