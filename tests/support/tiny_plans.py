"""Plan settings for tests, with methods given by name."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.chosen import make_selector
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.models.adapters import gated_ffns
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.random_models import random_plan
from ffbench.models.tiny import FAMILIES
from ffbench.training.statistics import quantile_levels

BLOCK = 16
DENSE_FAMILIES = [name for name in FAMILIES if name not in SPARSE_MIXTURES]
RANKED = {"surrogate", "lowrank", "rsparse"}


def node(value: Any) -> dict[str, Any]:
    """A settings node: a name, or a name with parameters."""
    return {"name": value} if isinstance(value, str) else dict(value)


def plan_settings(**changes: Any) -> PlanSettings:
    """Settings of a plan for a tiny model: blocks of 16, ranks of 8, dense ends of one block."""
    values: dict[str, Any] = {
        "selector": "trained",
        "compensator": "none",
        "scheduler": "uniform",
        "block_size": BLOCK,
        "sparsity": 0.5,
        "first_dense": BLOCK,
        "last_dense": BLOCK,
    } | changes
    compensator = node(values["compensator"])
    if compensator["name"] in RANKED:
        compensator = {"rank": 8} | compensator
    return PlanSettings(
        **values
        | {
            "selector": make_selector(node(values["selector"])),
            "compensator": COMPENSATORS.make(compensator),
            "scheduler": SCHEDULERS.make(node(values["scheduler"])),
        }
    )


def tiny_model(family: str = "llama") -> Any:
    """A tiny random model of a family."""
    return load_tiny(ModelSpec("tiny", source="tiny", location=family))[0]


def random_tiny_plan(model: Any, **changes: Any) -> SparsePlan:
    """A random plan; a token rule gets the quantiles of random inputs too."""
    plan = random_plan(model, plan_settings(**changes))
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        x = torch.randn(400, 64, generator=torch.Generator().manual_seed(1)).to(ffn.w_gate)
        gate = ffn.gate(x)
        levels: dict[str, Tensor] = {
            "input_levels": quantile_levels(x.abs()),
            "gate_levels": quantile_levels(gate.abs()),
            "activation_levels": quantile_levels((gate * (x @ ffn.w_up.T)).abs()),
        }
        layer.statistics = replace(
            layer.statistics,
            values=layer.statistics.values | levels,
            axes=layer.statistics.axes | dict.fromkeys(levels, ("quantile",)),
        )
    return plan


def prompt(tokens: int, seed: int = 0) -> Tensor:
    """Ids [1, tokens]."""
    return torch.randint(3, 259, (1, tokens), generator=torch.Generator().manual_seed(seed))
