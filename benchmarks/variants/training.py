"""Train one variant on one layer's examples."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from variants.data import Examples
from variants.predictor import BlockPredictor, Variant

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
BATCH = 48  # blocks per step
CHECK_EVERY = 25  # steps between two looks at the checking part
STRIDE = 32  # tokens between the starts of training blocks, which overlap


def loss_of(variant: Variant, scores: Tensor, worth: Tensor, kept: int) -> Tensor:
    """The loss of log-scores [n, f] against the worth of neurons [n, f]."""
    if variant.loss == "log":
        floor = worth.clamp_min(0).mean(1, keepdim=True) * 1e-3 + 1e-30
        return mse_loss(scores, worth.maximum(floor).log())
    if variant.loss == "bce":
        labels = torch.zeros_like(worth).scatter_(1, worth.topk(kept, dim=1).indices, 1.0)
        return binary_cross_entropy_with_logits(
            scores - scores.detach().median(1, keepdim=True).values, labels
        )
    share = worth.clamp_min(0)
    share = share / share.sum(1, keepdim=True).clamp_min(1e-30)
    return -(share * scores.log_softmax(1)).sum(1).mean()


def prior_of(examples: Examples, target: str) -> Tensor:
    """Log of the mean worth [f] over all tokens."""
    worth = examples.worth[target].flatten(0, 1).mean(0)
    return worth.clamp_min(worth.clamp_min(0).mean() * 1e-4 + 1e-30).log()


def kept_share(scores: Tensor, worth: Tensor, kept: int) -> float:
    """Worth in the best `kept` neurons by score, over that in the best by worth; mean over
    blocks.
    """
    best = worth.topk(kept, dim=1).values.sum(1).clamp_min(1e-30)
    return (worth.gather(1, scores.topk(kept, dim=1).indices).sum(1) / best).mean().item()


def train_variant(
    variant: Variant,
    learning: Examples,
    checking: Examples,
    block: int,
    kept: int,
    steps: int,
    seed: int = 0,
    rate: float = LEARNING_RATE,
) -> BlockPredictor:
    """AdamW on blocks drawn from `learning`; the state that keeps most worth on `checking` is
    returned.

    Every variant sees the same number of blocks. Both parts are calibration text.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flat = learning.x.flatten(0, 1)
        predictor = BlockPredictor(
            variant, flat.mean(0), flat.std(0).clamp_min(1e-6), prior_of(learning, variant.target)
        )
    parts = [one for name, one in predictor.named_parameters() if name != "offset"]
    optimizer = torch.optim.AdamW(
        [
            {"params": parts, "weight_decay": WEIGHT_DECAY},
            {"params": [predictor.offset], "weight_decay": 0.0},
        ],
        lr=rate,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    starts = learning.starts(block, STRIDE)
    predictor.standardise(learning.blocks(block, starts, variant.target)[0])
    x_check, worth_check = checking.blocks(block, checking.starts(block, block), variant.target)
    best, state = -1.0, None
    for step in range(steps + 1):
        if step % CHECK_EVERY == 0 or step == steps:
            with torch.no_grad():
                share = kept_share(predictor(x_check), worth_check, kept)
            if share > best:
                best, state = (
                    share,
                    {name: one.clone() for name, one in predictor.state_dict().items()},
                )
        if step == steps:
            break
        chosen = starts[torch.randint(len(starts), (BATCH,), generator=generator)]
        x, worth = learning.blocks(block, chosen, variant.target)
        loss = loss_of(variant, predictor(x), worth, kept)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert state is not None
    predictor.load_state_dict(state)
    return predictor.requires_grad_(False)
