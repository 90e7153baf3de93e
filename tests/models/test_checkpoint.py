"""Which checkpoint a folder holds, and by which files it counts."""

import json
from pathlib import Path

import pytest
import torch
from tiny_files import tiny_qwen2, write_folder, write_gguf

from ffbench.models.loading import ModelError, ModelSpec, load_model, weight_files


def touch(folder: Path, *names: str) -> Path:
    """A folder with small files; an index names two shards."""
    folder.mkdir()
    for name in names:
        text = json.dumps({"weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}})
        (folder / name).write_text(text if name.endswith("index.json") else "{}")
    return folder


FOLDERS = [
    (["config.json"], None, "no model.safetensors, model.safetensors.index.json or .gguf file"),
    (["adapter_config.json"], None, "it is a LoRA adapter: merge it"),
    (["model.safetensors", "b.gguf"], None, "model.file=model.safetensors or model.file=b.gguf"),
    (["a-Q2_K.gguf", "b-Q8_0.gguf"], None, "holds 2 checkpoints"),
    (["a.gguf"], "c.gguf", "model.file: 'c.gguf' is not in"),
    (["model.safetensors", "model.safetensors.index.json"], None, "two checkpoints; remove one"),
    (["model.safetensors.index.json", "s1.safetensors"], None, "s2.safetensors is missing"),
]


@pytest.mark.parametrize(("names", "file", "text"), FOLDERS, ids=[text for _, _, text in FOLDERS])
def test_folders_that_hold_no_one_checkpoint(
    names: list[str], file: str | None, text: str, tmp_path: Path
) -> None:
    folder = touch(tmp_path / "m", *names)
    for call in (weight_files, load_model):
        with pytest.raises(ModelError) as refused:
            call(ModelSpec("m", "folder", str(folder), file=file))
        assert text in str(refused.value)


def test_a_folders_checkpoint_is_chosen_and_identified_by_its_files(tmp_path: Path) -> None:
    folder = touch(tmp_path / "m", "model.safetensors", "b.gguf", "config.json", "notes.txt")
    chosen = [
        [path.name for path in weight_files(ModelSpec("m", "folder", str(folder), file=file))]
        for file in ("b.gguf", "model.safetensors")
    ]
    assert chosen == [["b.gguf", "config.json"], ["config.json", "model.safetensors"]]
    described = touch(
        tmp_path / "d",
        "model.safetensors",
        "chat_template.jinja",
        "tokenizer.model",
        "merges.txt",
        "modeling_mine.py",
        "qwen.tiktoken",
    )
    assert weight_files(ModelSpec("d", "folder", str(described))) == sorted(described.iterdir())
    shards = touch(tmp_path / "s", "w-00001-of-00002.gguf", "w-00002-of-00002.gguf")
    files = weight_files(ModelSpec("s", "folder", str(shards)))
    assert [path.name for path in files] == ["w-00001-of-00002.gguf", "w-00002-of-00002.gguf"]


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    folder = touch(tmp_path / "m", "model.safetensors")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="is a Git LFS pointer.*git lfs pull"):
        weight_files(ModelSpec("m", "folder", str(folder)))


def test_two_checkpoints_in_a_folder_are_two_models(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_folder(folder)
    write_gguf(folder)
    name = next(folder.glob("*.gguf")).name
    assert (name, folder.exists()) == ("tiny.gguf", True)
    expected = tiny_qwen2().model.layers[0].mlp.gate_proj.weight
    for file in ("tiny.gguf", "model.safetensors"):
        model, _ = load_model(ModelSpec("m", "folder", str(folder), file=file))
        torch.testing.assert_close(model.model.layers[0].mlp.gate_proj.weight, expected)
