"""Mixtures of experts: how their weights are found and read, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import EXPERTS, neurons, tiny_mixture
from safetensors import safe_open
from tiny_files import write_tokenizer
from tiny_plans import prompt, tiny_model

from ffbench.models.adapters import experts_per_layer, gated_ffns
from ffbench.models.checks import check_loaded
from ffbench.models.config_checks import config_problems
from ffbench.models.errors import ModelError, UnsupportedModelError
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.forward import check_logits
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.tiny import tiny_config


@pytest.mark.parametrize("family", SPARSE_MIXTURES)
def test_the_checks_pass_and_every_expert_is_an_ffn(family: str) -> None:
    model = tiny_mixture(family)
    assert config_problems(model.config.to_dict(), SPARSE_MIXTURES) == []
    check_loaded(model, range(259))
    check_logits(model)
    ffns = gated_ffns(model)
    assert [(ffn.layer, ffn.expert) for ffn in ffns] == [
        (layer, expert) for layer in range(2) for expert in range(EXPERTS)
    ]
    assert experts_per_layer(ffns) == EXPERTS and ffns[9].name == "layer 1, expert 1"
    stored = model.model.layers[1].mlp.experts
    assert ffns[9].w_up.data_ptr() == stored.gate_up_proj[1, neurons(model) :].data_ptr()
    assert ffns[9].w_down.data_ptr() == stored.down_proj[1].data_ptr()


@pytest.mark.parametrize("family", SPARSE_MIXTURES)
def test_a_checkpoint_with_tensors_of_each_expert_is_read(family: str, tmp_path: Path) -> None:
    made, ids = tiny_mixture(family), prompt(40)
    made.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert any(".experts.7." in name for name in file.keys())  # noqa: SIM118 - no mapping
    read = load_model(ModelSpec("mine", "folder", str(tmp_path)))[0]
    assert torch.equal(read(ids).logits, made(ids).logits)
    assert experts_per_layer(gated_ffns(read)) == EXPERTS


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"mlp_only_layers": [1]}, r"mlp_only_layers=\[1\]"),
        ({"decoder_sparse_step": 2}, "decoder_sparse_step=2"),
    ],
)
def test_dense_layers_among_those_with_experts_are_refused_by_their_setting(
    changes: dict[str, Any], setting: str, tmp_path: Path
) -> None:
    config = tiny_config("qwen3_moe")
    config.update(changes)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=f"model: qwen3_moe with {setting} has dense layers"):
        load_model(ModelSpec("mine", "folder", str(tmp_path)))


def broken(part: str) -> Any:
    """A mixture with something that experts here do not have."""
    made = tiny_model("olmoe")
    mlp = made.model.layers[1].mlp
    if part == "shared":
        mlp.shared_expert = torch.nn.Linear(2, 2)
    elif part == "bias":
        mlp.experts.down_proj_bias = torch.nn.Parameter(torch.zeros(8, 64))
    elif part == "rows":
        mlp.experts.gate_up_proj = torch.nn.Parameter(torch.zeros(8, 300, 64))
    elif part == "dtype":
        mlp.experts.gate_up_proj = torch.nn.Parameter(
            torch.zeros(8, 320, 64, dtype=torch.int8), requires_grad=False
        )
    else:
        made.model.layers[1].mlp = tiny_model("llama").model.layers[0].mlp
    return made


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("shared", "layer 1: its mixture of experts has experts, gate, shared_expert"),
        ("bias", "layer 1: its experts hold down_proj, down_proj_bias, gate_up_proj"),
        ("rows", r"gate_up_proj is \(8, 300, 64\); 8 experts of 160 neurons on 64 inputs"),
        ("dtype", r"quantised weights \(torch.int8\)"),
        ("dense layer", r"different numbers of FFNs: \[8, 1\]"),
    ],
)
def test_other_mixtures_are_refused(part: str, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        gated_ffns(broken(part))
