"""Tensors on disk, shared by the umask like every other file, with errors that name the file.

Tensors are torch's, which is imported only when there are some.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ffbench.runs.files import StoreError, disk_errors


def save_tensors(
    tensors: Mapping[str, Any], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors, and texts about them, as safetensors.

    safetensors writes files that only their owner can read; a folder can be shared by a group. An
    empty file that is made first has the mode that the umask gives.
    """
    from safetensors.torch import save_file

    with disk_errors("write", path):
        path.touch()
        mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata)
    with disk_errors("write", path):
        path.chmod(mode)


def load_tensors(path: Path) -> dict[str, Any]:
    """Named tensors of a file that `save_tensors` wrote.

    Raises:
        StoreError: the file cannot be read or is damaged.

    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with disk_errors("read", path), open(path, "rb"):
        pass  # safetensors calls a file that may not be read missing
    try:
        tensors: dict[str, Any] = load_file(path)
    except SafetensorError as error:
        raise StoreError(
            f"{path} is damaged ({error}); remove the folder {path.parent} and run again"
        ) from error
    return tensors
