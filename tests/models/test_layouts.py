"""A model whose FFNs have other names: the same as under the usual ones, once they are named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import plan_settings, prompt, tiny_model
from tiny_stages import FolderCache, built_plan
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from ffbench.experiment.registered import registered
from ffbench.models.adapters import gated_ffns
from ffbench.models.checks import check_loaded
from ffbench.models.errors import UnsupportedModelError
from ffbench.models.final_layer import final_layer_rule
from ffbench.models.layouts import LAYOUTS, Layout, add_layout
from ffbench.models.random_models import random_plan
from ffbench.models.sparse_prefill import sparse_prefill

OTHER = Layout(("w1", "w3", "w2"), ffn="feed_forward")


class Renamed(nn.Module):
    """A gated FFN with other names."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.w1, self.w3, self.w2 = mlp.gate_proj, mlp.up_proj, mlp.down_proj

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))


class RenamedLayer(LlamaDecoderLayer):
    """A decoder layer that calls its FFN `feed_forward`."""

    @property
    def mlp(self) -> Any:
        return self.feed_forward


@pytest.fixture
def model() -> Any:
    made = tiny_model("llama")
    for layer in made.model.layers:
        layer.feed_forward = Renamed(layer.mlp)
        del layer.mlp
        layer.__class__ = RenamedLayer
    return made


@pytest.fixture
def _named() -> Iterator[None]:
    before = list(LAYOUTS)
    add_layout(OTHER)
    yield
    LAYOUTS[:] = before


def test_other_names_are_refused_by_what_is_there(model: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"has no gate_proj.*it has w1, w3, w2"):
        gated_ffns(model)


@pytest.mark.usefixtures("_named")
def test_a_named_layout_runs_as_the_usual_one(model: Any, tmp_path: Path) -> None:
    usual, ids = tiny_model("llama"), prompt(100)
    check_loaded(model, range(259))
    logits = []
    for one in (usual, model):
        plan = random_plan(one, plan_settings(compensator="surrogate"))
        with sparse_prefill(one, plan, "reference"), final_layer_rule(one):
            logits.append(one(ids, logits_to_keep=1, use_cache=True).logits)
    assert torch.equal(*logits)
    plans = [
        built_plan(one, FolderCache(tmp_path / name))
        for name, one in (("usual", usual), ("other", model))
    ]
    for first, second in zip(plans[0].layers, plans[1].layers, strict=True):
        assert all(torch.equal(value, second.tensors()[n]) for n, value in first.tensors().items())


@pytest.mark.usefixtures("_named")
def test_a_plugins_layout_counts_as_registered() -> None:
    assert "layout feed_forward: w1, w3, w2" in registered()
    assert add_layout(OTHER) is OTHER and LAYOUTS.count(OTHER) == 1


def test_a_layout_has_two_or_three_matrices() -> None:
    with pytest.raises(ValueError, match="layout w: name gate, up and down, or gate_up and down"):
        Layout(("w",))
