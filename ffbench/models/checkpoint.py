"""What a model folder holds: its one checkpoint, and what is wrong with its files."""

from pathlib import Path
from typing import Any

from ffbench import strict_json
from ffbench.models.errors import ModelError

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
LFS_HEADER = b"version https://git-lfs"
# transformers builds a tokenizer from any of these
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
# next to the weights: configuration, tokenizer, chat template and the model's own code, which every
# result depends on
DESCRIPTIONS = ("*.json", "*.jinja", "*.model", "*.tiktoken", "*.py", "merges.txt", "vocab.txt")
ADAPTER = "adapter_config.json"
LFS_BYTES = 1024  # a pointer file has three short lines


def checkpoints(folder: Path) -> list[str]:
    """Names that `model.file` can take: the safetensors checkpoint and each GGUF file.

    Shards of one GGUF (NAME-00001-of-00003.gguf) count as the first of them.
    """
    names = sorted(path.name for path in folder.glob("*.gguf"))
    names = [name for name in names if "-of-" not in name or "-00001-of-" in name]
    return [name for name in (WHOLE, INDEX) if (folder / name).exists()] + names


def chosen_checkpoint(folder: Path, file: str | None) -> str:
    """Name of the checkpoint in `folder` that is to be loaded, `file` if it is given.

    Raises ModelError if there is none, if there are several, or if `file` is not one of them.
    """
    if not folder.is_dir():
        raise ModelError(f"model.location: {folder} is not a directory")
    names = checkpoints(folder)
    if not names:
        if lost := lost_link(folder):
            raise ModelError(f"model.location: {lost}")
        others = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        hint = (
            "; it is a LoRA adapter: merge it into its base model first"
            if (folder / ADAPTER).exists()
            else ""
        )
        raise ModelError(
            f"model.location: no {WHOLE}, {INDEX} or .gguf file in folder {folder} (it holds "
            f"{others}){hint}"
        )
    if (folder / ADAPTER).exists():
        raise ModelError(
            f"model.location: {folder} holds {ADAPTER} next to {names[0]}: transformers would load "
            "the adapter's base model instead; remove the adapter's files, or merge it"
        )
    if WHOLE in names and INDEX in names:
        raise ModelError(
            f"model.location: {folder} holds {WHOLE} and {INDEX}, two checkpoints; remove one"
        )
    if file is not None and file not in names:
        raise ModelError(f"model.file: {file!r} is not in {folder}. Valid: {', '.join(names)}")
    if file is None and len(names) > 1:
        raise ModelError(
            f"model.location: {folder} holds {len(names)} checkpoints; choose one with "
            f"model.file={' or model.file='.join(names)}"
        )
    return file or names[0]


def checkpoint_files(folder: Path, name: str) -> list[Path]:
    """The files of checkpoint `name` by name: weights, shards included, and what describes them.

    Raises ModelError naming a shard that is missing or a file that is a Git LFS pointer.
    """
    if name.endswith(".gguf"):
        stem = name.partition("-00001-of-")[0]
        weights = sorted(folder.glob(f"{stem}-*-of-*.gguf")) if "-of-" in name else [folder / name]
    elif name == INDEX:
        weights = [folder / shard for shard in sorted(set(weight_map(folder / INDEX).values()))]
    else:
        weights = [folder / name]
    if not weights:
        raise ModelError(f"model.location: {folder / name} names no weights; fetch it again")
    for path in weights:
        if not path.exists():
            raise ModelError(f"model.location: {path} is missing, though {name} names it")
        if not path.is_file():
            raise ModelError(f"model.location: {path} is not a file")
        if is_lfs_pointer(path):
            raise ModelError(
                f"model.location: {path} is a Git LFS pointer, not the weights; fetch them with: "
                "git lfs pull"
            )
    return sorted({*weights, *(path for pattern in DESCRIPTIONS for path in folder.glob(pattern))})


def lost_link(folder: Path) -> str | None:
    """A checkpoint's file that is a link to nothing, as in a cache that was emptied by half."""
    for name in (WHOLE, INDEX):
        if (folder / name).is_symlink() and not (folder / name).exists():
            return f"{folder / name} is a link to a file that is not there; fetch the model again"
    return None


def tokenizer_problem(folder: Path) -> str | None:
    """Why no tokenizer can be loaded from `folder`; None if a file of one is there."""
    if any((folder / name).exists() for name in TOKENIZER_FILES):
        return None
    return (
        f"model.location: {folder} has no tokenizer; copy tokenizer.json and "
        "tokenizer_config.json into it"
    )


def weight_map(index: Path) -> dict[str, str]:
    """Tensor -> shard of an index file. Raises ModelError if the file is damaged."""
    try:
        return {
            str(key): str(value)
            for key, value in strict_json.parse(index.read_bytes())["weight_map"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model.location: {index} is damaged ({error})") from error


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the small text that Git LFS leaves in place of a large file."""
    if path.stat().st_size > LFS_BYTES:
        return False
    return path.read_bytes().startswith(LFS_HEADER)


def read_config(folder: Path) -> dict[str, Any] | None:
    """The folder's config.json; None if there is none. Raises ModelError if it is not JSON."""
    path = folder / "config.json"
    return read_config_file(path, "model.location") if path.exists() else None


def read_config_file(path: Path, setting: str) -> dict[str, Any]:
    """A config.json. Raises ModelError that begins with the setting if it is not a JSON object."""
    try:
        config = strict_json.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{setting}: {path} is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise ModelError(f"{setting}: {path} is not a JSON object")
    return config
