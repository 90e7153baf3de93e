"""What only the loaded model tells."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ffbench.models import checks
from ffbench.models.adapters import gated_ffns
from ffbench.models.errors import ModelError, UnsupportedModelError
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.tiny import FAMILIES


def test_missing_and_unexpected_weights_are_named() -> None:
    info = {
        "missing_keys": {"lm_head.weight"},
        "unexpected_keys": {"a", "b", "c", "d", "model.rotary_emb.inv_freq"},
        "mismatched_keys": [("x.weight", (2, 2), (3, 3))],
    }
    missing, shapes, unexpected = checks.weight_problems(info)
    assert "1 weights are missing from the checkpoint: lm_head.weight" in missing
    assert "another shape" in shapes and "x.weight" in shapes
    assert "4 weights" in unexpected and "a, b, c and 1 more" in unexpected
    assert checks.weight_problems({"unexpected_keys": {"model.rotary_emb.inv_freq"}}) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sound_models_pass_in_each_dtype(family: str, dtype: str) -> None:
    model, tokenizer = load_model(ModelSpec("t", "tiny", family, dtype=dtype))
    checks.check_loaded(model, tokenizer)


class Thresholded(nn.Module):
    """An FFN whose gate is thresholded before it is used, as in Gemma 3n."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        for name in ("gate_proj", "up_proj", "down_proj"):
            setattr(self, name, getattr(inner, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.gate_proj(x)
        gate = torch.relu(gate - gate.mean(-1, keepdim=True))
        return self.down_proj(torch.nn.functional.silu(gate) * self.up_proj(x))


def tiny() -> tuple[Any, Any]:
    return load_model(ModelSpec("t", "tiny", "llama"))


def with_foreign_formula(model: Any) -> None:
    model.model.layers[1].mlp = Thresholded(model.model.layers[1].mlp)


def with_norm(model: Any) -> None:
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    mlp.forward = lambda x: nn.functional.rms_norm(forward(x), (64,))


def with_one_ffn_for_two_layers(model: Any) -> None:
    model.model.layers[1].mlp = model.model.layers[0].mlp


def with_double_precision(model: Any) -> None:
    model.double()


def with_an_adapter(model: Any) -> None:
    model.peft_config = {"default": "LoRA"}


def with_bias(model: Any) -> None:
    model.model.layers[0].mlp.up_proj.bias = nn.Parameter(torch.zeros(160))


def with_other_linear(model: Any) -> None:
    class Linear4bit(nn.Linear):
        pass

    model.model.layers[0].mlp.gate_proj = Linear4bit(64, 160, bias=False)


def with_float8(model: Any) -> None:
    weight = model.model.layers[0].mlp.down_proj.weight
    model.model.layers[0].mlp.down_proj.weight = nn.Parameter(
        weight.to(torch.float8_e4m3fn), requires_grad=False
    )


def with_fused(model: Any) -> None:
    model.model.layers[0].mlp = nn.ModuleDict(
        {"gate_up_proj": nn.Linear(64, 320), "down_proj": nn.Linear(160, 64)}
    )


def with_meta(model: Any) -> None:
    model.model.layers[1].mlp.to("meta")


def with_infinite_head(model: Any) -> None:
    with torch.no_grad():
        model.model.norm.weight[3] = torch.inf


def with_weights_of_no_number(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = torch.nan


def with_layers_of_another_width(model: Any) -> None:
    model.model.layers[0].self_attn.q_proj = nn.Linear(64, 48, bias=False)


def with_a_running_state(model: Any) -> None:
    """Adds the mean of what an earlier call read, as recurrent layers do."""
    attention = model.model.layers[0].self_attn
    forward, state = attention.forward, []

    def remembering(*args: Any, **kwargs: Any) -> Any:
        output, *rest = forward(*args, **kwargs)
        output = output + (state[-1] if state else 0)
        state.append(output.mean(1, keepdim=True))
        return (output, *rest)

    attention.forward = remembering


def with_no_cache(model: Any) -> None:
    forward = model.model.layers[0].forward

    def failing(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("use_cache"):
            raise IndexError("list index out of range")
        return forward(*args, **kwargs)

    model.model.layers[0].forward = failing


FAULTS = [
    (with_an_adapter, "it is an adapter, loaded over a base model that no setting names"),
    (with_one_ffn_for_two_layers, "layers 0 and 1 share one FFN"),
    (with_double_precision, "gate_proj holds torch.float64 weights; load it in float32"),
    (with_layers_of_another_width, "its forward pass fails (RuntimeError: "),
    (with_a_running_state, "gives other logits from a cache that was cut back"),
    (with_no_cache, "cannot be read on from a cache (IndexError: list index out of range)"),
    (with_weights_of_no_number, "layer 1: weights of its FFN are not finite"),
    (with_foreign_formula, "layer 1: Thresholded does not compute silu(gate) * up through down"),
    (with_norm, "layer 0: LlamaMLP does not compute"),
    (with_bias, "layer 0: up_proj has a bias"),
    (with_other_linear, "layer 0: gate_proj is Linear4bit"),
    (with_float8, "down_proj holds quantised weights (torch.float8_e4m3fn)"),
    (with_fused, "layer 0: gate_up_proj has a bias"),
    (with_meta, "model.device_map: 3 weights are offloaded"),
    (with_infinite_head, "logits are not finite in float32"),
]


@pytest.mark.parametrize(("spoil", "text"), FAULTS, ids=[text for _, text in FAULTS])
def test_what_only_the_loaded_model_tells(spoil: Any, text: str) -> None:
    model, tokenizer = tiny()
    spoil(model)
    with pytest.raises(ModelError) as refused:
        checks.check_loaded(model, tokenizer)
    assert text in str(refused.value) and "\n" not in str(refused.value)


def test_a_model_without_decoder_layers() -> None:
    model, _ = tiny()
    model.model = nn.Module()
    with pytest.raises(UnsupportedModelError, match="LlamaForCausalLM has no decoder layers"):
        gated_ffns(model)


def test_a_tokenizer_larger_than_the_embedding() -> None:
    model, _ = tiny()
    with pytest.raises(ModelError, match="tokenizer has 300 tokens, but the embedding has 259"):
        checks.check_loaded(model, range(300))


def test_the_formula_check_knows_every_activation() -> None:
    from ffbench.models.adapters import ACTIVATIONS

    assert set(checks.ACTIVATION_FUNCTIONS) == set(ACTIVATIONS.values())


def test_folders_report_nothing_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from tiny_files import write_folder

    folder = write_folder(tmp_path / "m")
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    capsys.readouterr()
    with pytest.raises(ModelError, match="1 weights are missing"):
        load_model(ModelSpec("m", "folder", str(folder)))
    assert capsys.readouterr() == ("", "")
