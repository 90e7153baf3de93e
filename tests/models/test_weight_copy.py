"""The copy of GGUF weights that measuring processes load."""

import json
from pathlib import Path

import pytest
import torch
from tiny_files import write_gguf

from ffbench.models import weight_copy
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.weight_copy import quick_to_load


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = write_gguf(tmp_path_factory.mktemp("gguf"))
    return ModelSpec("mine", "folder", str(folder), dtype="float32", device="cpu")


def test_a_copy_of_gguf_weights_loads_as_the_same_model(gguf: ModelSpec) -> None:
    model, tokenizer = load_model(gguf)
    with quick_to_load(gguf, model, tokenizer) as spec:
        assert spec.location != gguf.location
        assert spec.source == "folder" and Path(spec.location).is_dir()
        config = json.loads((Path(spec.location) / "config.json").read_text())
        assert config["architectures"] == ["Qwen2ForCausalLM"]
        again, same_tokenizer = load_model(spec)
    assert not Path(spec.location).exists()
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert same_tokenizer.encode("def f(x):") == tokenizer.encode("def f(x):")


def test_other_sources_keep_their_spec() -> None:
    spec = ModelSpec("tiny", "tiny", "llama")
    with quick_to_load(spec, None, None) as given:
        assert given is spec


def test_without_room_the_spec_stays_and_the_reason_is_told(
    gguf: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = load_model(gguf)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weight_copy, "save_file", full)
    with quick_to_load(gguf, model, tokenizer) as spec:
        assert spec is gguf
    assert "No space left on device" in caplog.text
    assert weight_copy.__name__ in {record.name for record in caplog.records}
