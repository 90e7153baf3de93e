"""Load a plan for a model that lm-eval loaded, and check that it belongs to it."""

import logging
from pathlib import Path
from typing import Any

from ffbench.methods.plan import SparsePlan
from ffbench.models.checkpoint import checkpoint_files, chosen_checkpoint
from ffbench.runs.identity import content_key, file_hash

log = logging.getLogger(__name__)


def weights_identity(
    pretrained: str, gguf_file: str | None, revision: str | None
) -> dict[str, Any]:
    """What names the weights, as a run's identity has it: the files' hashes, or the hub id and its
    revision.
    """
    folder = Path(pretrained)
    if not folder.is_dir():
        return {"source": "hub", "location": pretrained, "revision": revision}
    name = gguf_file or chosen_checkpoint(folder, None)
    return {"weights": [file_hash(path) for path in checkpoint_files(folder, name)]}


def load_plan(
    folder: Path, model: Any, model_name: str | None, options: dict[str, Any]
) -> SparsePlan:
    """The plan in `folder`; PlanError if it is not readable or, with `model_name`, was made for
    another model.
    """
    pretrained = options.get("pretrained")
    if model_name is None or not isinstance(pretrained, str):
        log.warning(
            "plan %s: its model fingerprint is not checked, only its sizes; give "
            "model_name=NAME as in the "
            "plan's model config to check it",
            folder,
        )
        return SparsePlan.load(folder)
    identity = {"name": model_name, "dtype": str(model.dtype).removeprefix("torch.")}
    identity |= weights_identity(pretrained, options.get("gguf_file"), options.get("revision"))
    return SparsePlan.load(folder, {"model": content_key(identity), "name": model_name})
