"""Load a plan for a model that lm-eval loaded, and check that it belongs to it."""

import logging
from pathlib import Path
from typing import Any

from ffbench.integrations.fingerprints import fingerprint
from ffbench.methods.plan import SparsePlan

log = logging.getLogger(__name__)


def load_plan(
    folder: Path, model: Any, model_name: str | None, options: dict[str, Any]
) -> SparsePlan:
    """The plan in `folder`; PlanError if it is not readable or, with `model_name`, was made for
    another model.
    """
    pretrained = options.get("pretrained")
    if model_name is None or not isinstance(pretrained, str):
        log.warning(
            "plan %s: its model fingerprint is not checked, only its sizes; give model_name=NAME "
            "as in the plan's model config to check it",
            folder,
        )
        return SparsePlan.load(folder)
    made_for = fingerprint(
        name=model_name,
        dtype=str(model.dtype).removeprefix("torch."),
        pretrained=pretrained,
        gguf_file=options.get("gguf_file"),
        revision=options.get("revision"),
    )
    return SparsePlan.load(folder, made_for)
