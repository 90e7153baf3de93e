"""What is wrong inside a model's files, told before a model is loaded."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from tiny_files import write_folder

from ffbench.models.damage import damage
from ffbench.models.errors import ModelError
from ffbench.models.loading import ModelSpec, load_model, weight_files

WHOLE = save({"a.weight": torch.zeros(4, 4)})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12345\n"
FILES = [
    ("model.safetensors", b"", "a weights file is damaged"),
    ("model.safetensors", WHOLE[:-8], "a weights file is damaged"),
    ("model.safetensors", WHOLE[:40], "a weights file is damaged"),
    ("model.safetensors", b"<!doctype html>" * 90, "a weights file is damaged"),
    ("model.safetensors", save({"a.weight": torch.zeros(4, dtype=torch.int8)}), "a.weight as I8"),
    (
        "model.safetensors",
        save({"b.bias": torch.zeros(4, dtype=torch.float8_e4m3fn)}),
        "b.bias as F8_E4M3",
    ),
    ("model.gguf", b"", "is not a GGUF file"),
    ("model.gguf", b"<html>", "is not a GGUF file"),
    ("tokenizer.json", b"", "tokenizer.json is not JSON"),
    ("tokenizer.json", b"[" * 100_000, "nested too deeply"),
    ("tokenizer.json", POINTER, "tokenizer.json is a Git LFS pointer"),
    ("tokenizer_config.json", b"[]", "tokenizer_config.json is not a JSON object"),
    ("generation_config.json", b"nope", "generation_config.json is not JSON"),
    ("special_tokens_map.json", b"\xff\xfe", "special_tokens_map.json is not JSON"),
    ("config.json", b"9" * 5000, "config.json is not JSON"),
]


@pytest.mark.parametrize(("name", "data", "text"), FILES)
def test_a_damaged_file_is_named(name: str, data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    (problem,) = damage([tmp_path / name])
    assert text in problem and problem.startswith(f"model.location: {tmp_path / name}")


def test_sound_files_and_files_that_are_not_looked_at(tmp_path: Path) -> None:
    for name, data in {
        "model.safetensors": save({"a.weight": torch.zeros(2), "ids": torch.zeros(2).long()}),
        "model.gguf": b"GGUF and so on",
        "tokenizer.json": b"{}",
        "vocab.json": b"anything",
        "chat_template.jinja": b"{{",
    }.items():
        (tmp_path / name).write_bytes(data)
    assert damage(tmp_path.iterdir()) == []
    (problem,) = damage([tmp_path / "gone.json"])
    assert "gone.json cannot be read (No such file or directory)" in problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.embed_tokens.weight", "model: 1 weights have another shape"),
        ("model.layers.0.mlp.gate_proj.weight", "model: 1 weights have another shape"),
    ],
)
def test_weights_of_another_shape_are_named(name: str, text: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "m"
    write_folder(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as refused:
        load_model(ModelSpec("m", "folder", str(folder)))
    assert text in str(refused.value) and name in str(refused.value)


def test_integer_weights_are_refused_and_not_cast(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "m"
    write_folder(folder)
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = (tensors[name] * 127).to(torch.int8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"{name} as I8"):
        load_model(ModelSpec("m", "folder", str(folder)))


def test_links_folders_and_an_index_of_nothing(tmp_path: Path) -> None:
    cases = {
        "gone": lambda path: path.symlink_to("/not/there"),
        "round": lambda path: path.symlink_to(path.name),
        "folder": lambda path: path.mkdir(),
    }
    texts = {"gone": "is a link to a file", "round": "is a link to a file", "folder": "not a file"}
    for case, make in cases.items():
        folder = tmp_path / case
        folder.mkdir()
        make(folder / "model.safetensors")
        with pytest.raises(ModelError, match=texts[case]):
            weight_files(ModelSpec("m", "folder", str(folder)))
    folder = tmp_path / "index"
    folder.mkdir()
    for text, words in (
        ('{"weight_map": {}}', "names no weights"),
        ('{"weight_map": {"a": "."}}', "is not a file"),
        ("[" * 100_000, "is damaged"),
    ):
        (folder / "model.safetensors.index.json").write_text(text)
        with pytest.raises(ModelError, match=words):
            weight_files(ModelSpec("m", "folder", str(folder)))
