"""What names the weights of a model that another program loads, as a run's identity has it."""

from pathlib import Path
from typing import Any

from ffbench.models.checkpoint import checkpoint_files, chosen_checkpoint
from ffbench.models.hub import commit_of
from ffbench.runs.identity import content_key, file_hash


def weights_identity(
    pretrained: str, gguf_file: str | None, revision: str | None
) -> dict[str, Any]:
    """The files' hashes, or the hub id and its revision, which is a commit if it is known."""
    folder = Path(pretrained)
    if not folder.is_dir():
        commit = commit_of(pretrained, revision) or revision
        return {"source": "hub", "location": pretrained, "revision": commit}
    name = gguf_file or chosen_checkpoint(folder, None)
    return {"weights": [file_hash(path) for path in checkpoint_files(folder, name)]}


def fingerprint(
    *, name: str, dtype: str, pretrained: str, gguf_file: str | None, revision: str | None
) -> dict[str, str]:
    """A plan's fingerprint of the model called `name`; dtype without `torch.`.

    Raises ModelError if the folder has no checkpoint, or several.
    """
    identity: dict[str, Any] = {"name": name, "dtype": dtype}
    identity |= weights_identity(pretrained, gguf_file, revision)
    return {"model": content_key(identity), "name": name}
