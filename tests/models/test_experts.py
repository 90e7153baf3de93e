"""Mixtures of experts: how their weights are found and read, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from expert_loops import (
    EXPERTS,
    MIXTURES,
    NAMES,
    ffns_of_layers,
    matrices,
    mixture_layers,
    tiny_mixture,
)
from safetensors import safe_open
from tiny_files import write_tokenizer
from tiny_plans import prompt, tiny_model

from ffbench.models.adapters import gated_ffns
from ffbench.models.checks import check_loaded
from ffbench.models.config_checks import config_problems
from ffbench.models.errors import ModelError, UnsupportedModelError
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.forward import check_logits
from ffbench.models.loading import ModelSpec, load_model


@pytest.mark.parametrize(("family", "changes"), MIXTURES, ids=NAMES)
def test_the_checks_pass_and_every_expert_is_an_ffn(family: str, changes: dict[str, Any]) -> None:
    model = tiny_mixture(family, **changes)
    assert config_problems(model.config.to_dict(), SPARSE_MIXTURES) == []
    check_loaded(model, range(259))
    check_logits(model)
    found = gated_ffns(model)
    for ffn, (layer, module, expert) in zip(found, ffns_of_layers(model), strict=True):
        shared = expert is None and layer in mixture_layers(model)
        assert (ffn.layer, ffn.expert, ffn.shared) == (layer, expert, shared)
        assert ffn.share == (1.0 if expert is None else 2 / EXPERTS)
        for ours, theirs in zip(
            (ffn.w_gate, ffn.w_up, ffn.w_down), matrices(module, expert), strict=True
        ):
            assert ours.shape == theirs.shape and ours.data_ptr() == theirs.data_ptr()


def test_ffns_are_named_for_readers() -> None:
    names = [ffn.name for ffn in gated_ffns(tiny_mixture("glm4_moe"))]
    assert names[:2] == ["layer 0", "layer 1, expert 0"]
    assert names[8:10] == ["layer 1, expert 7", "layer 1, shared expert"]


@pytest.mark.parametrize("family", SPARSE_MIXTURES)
def test_a_checkpoint_with_tensors_of_each_expert_is_read(family: str, tmp_path: Path) -> None:
    made, ids = tiny_mixture(family), prompt(40)
    made.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert any(".experts.7." in name for name in file.keys())  # noqa: SIM118 - no mapping
    read = load_model(ModelSpec("mine", "folder", str(tmp_path)))[0]
    assert torch.equal(read(ids).logits, made(ids).logits)
    assert [ffn.name for ffn in gated_ffns(read)] == [ffn.name for ffn in gated_ffns(made)]


def broken(part: str) -> Any:
    """A mixture with something that experts here do not have."""
    made = tiny_model("qwen2_moe" if part == "shared bias" else "olmoe")
    mlp = made.model.layers[1].mlp
    if part == "shared bias":
        mlp.shared_expert.up_proj.bias = torch.nn.Parameter(torch.zeros(128))
    elif part == "no choice":
        made.config = SimpleNamespace(hidden_act="silu")
    elif part == "module":
        made.model.layers[1].mlp.experts = made.model.layers[0].mlp.experts
    elif part == "shared":
        mlp.shared_expert = torch.nn.Linear(2, 2)
    elif part == "bias":
        mlp.experts.down_proj_bias = torch.nn.Parameter(torch.zeros(8, 64))
    elif part == "rows":
        mlp.experts.gate_up_proj = torch.nn.Parameter(torch.zeros(8, 300, 64))
    else:
        mlp.experts.gate_up_proj = torch.nn.Parameter(
            torch.zeros(8, 320, 64, dtype=torch.int8), requires_grad=False
        )
    return made


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("shared", "layer 1: its mixture of experts has experts, gate, shared_expert"),
        ("bias", "layer 1: its experts hold down_proj, down_proj_bias, gate_up_proj"),
        ("rows", r"gate_up_proj is \(8, 300, 64\); 8 experts of 160 neurons on 64 inputs"),
        ("dtype", r"quantised weights \(torch.int8\)"),
        ("shared bias", "layer 1: its shared expert: up_proj has a bias"),
        ("no choice", r"does not say how many experts a token sees \(num_experts_per_tok\)"),
        ("module", "layers 0 and 1 share one FFN"),
    ],
)
def test_other_mixtures_are_refused(part: str, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        gated_ffns(broken(part))


def test_dense_models_have_one_width() -> None:
    model = tiny_model("llama")
    mlp = model.model.layers[1].mlp
    for name in ("gate_proj", "up_proj"):
        setattr(mlp, name, torch.nn.Linear(64, 96, bias=False))
    mlp.down_proj = torch.nn.Linear(96, 64, bias=False)
    with pytest.raises(UnsupportedModelError, match=r"different numbers of neurons: \[160, 96\]"):
        gated_ffns(model)


def test_gpt_oss_is_refused_by_its_formula(tmp_path: Path) -> None:
    from transformers import CONFIG_MAPPING

    CONFIG_MAPPING["gpt_oss"]().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError) as error:
        load_model(ModelSpec("mine", "folder", str(tmp_path)))
    assert str(error.value) == (
        "model: model_type 'gpt_oss': its experts have biases, clamp gate and up, and multiply by "
        "up + 1"
    )
