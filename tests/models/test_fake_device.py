"""Every step on tensors that claim to be on a card: a mix of devices fails, without a card.

Fake tensors have a shape, a dtype and a device but no data. What needs data (how many neurons a
threshold keeps, which tokens are alike, files) cannot run on them; each case says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import plan_settings, prompt, random_tiny_plan, tiny_model
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ffbench.evaluation import fidelity
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.selectors import SELECTORS
from ffbench.methods.token_rules import TOKEN_RULES
from ffbench.models.adapters import gated_ffns
from ffbench.models.forward import divergence, last_hidden, logits_of
from ffbench.models.sparse_prefill import Prefill, SparseFFN, sparse_prefill
from ffbench.training.layer_fit import fit_layer, refit_layer
from ffbench.training.layer_walk import walk_layers

CARD = torch.device("cuda", 0)


@contextmanager
def fake_card() -> Iterator[Any]:
    """A tiny model whose weights claim to be on a card."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = tiny_model()
        model.to(CARD)
        assert model.device == CARD
        yield model


def test_a_mix_of_devices_fails() -> None:
    with fake_card() as model, pytest.raises(RuntimeError, match="device"):
        model.lm_head.weight + torch.zeros(64)


def test_a_dense_forward() -> None:
    with fake_card() as model:
        hidden = last_hidden(model, prompt(70)[0])
        assert hidden.device == CARD and logits_of(model, hidden).device == CARD
