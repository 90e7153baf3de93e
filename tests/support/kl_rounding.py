"""How far two float32 computations of the same KL may be apart."""

import copy
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def sensitive(model: Any) -> Any:
    """The model with FFNs 16 times and a head 8 times as large: KLs of skipped neurons grow by the
    square of both, far above the roundings of float32 logarithms."""
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(16)
    model.lm_head.weight = torch.nn.Parameter(8 * model.lm_head.weight, requires_grad=False)
    return model


@torch.no_grad()
def kl_rounding(model: Any, ids: Tensor, kl: float) -> float:
    """For a mean KL of about `kl`, after passes over texts such as ids [T].

    Log-probabilities that are off by at most n change KL(p || q) by n (sum p |log p - log q| + sum
    |p - q|) + 2 n^2 at most; both sums are at most sqrt(2 KL) to first order (the second: Pinsker).
    n is what float32 loses against float64 in this model, twice, for the two computations. The
    logarithms themselves are rounded, and so are their sums: four times 2^-24 of the largest.
    """
    single, double = (
        one(ids.unsqueeze(0), use_cache=False).logits[0].double().log_softmax(-1)
        for one in (model, copy.deepcopy(model).double())
    )
    noise = 2 * (single - double).abs().max().item()
    rounded = 4 * 2.0**-24 * double.abs().max().item()
    return 2 * noise * (2 * kl) ** 0.5 + 2 * noise**2 + rounded
