"""Variants of the predictor: pooling of a block, map to the neurons, target and loss."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

POOLINGS = ("mean", "max", "attention", "token")
HEADS = ("linear", "low_rank", "mlp")
TARGETS = ("residual", "griffin", "output")
LOSSES = ("log", "bce", "listwise")
QUERIES = 4  # of attention pooling
LIMIT = 4.0  # of a token's log-shift, so that one token cannot decide for its block


@dataclass(frozen=True)
class Variant:
    """One variant.

    pooling: mean or max over the block, attention with 4 learned queries, or token:
    each token is scored and the block's score is the mean over tokens of the exponentials. width:
    of low_rank and mlp heads. prior: scores start from the static prior and the head learns what
    differs from it.
    """

    pooling: str = "mean"
    head: str = "linear"
    prior: bool = True
    target: str = "residual"
    loss: str = "log"
    width: int = 128

    def __post_init__(self) -> None:
        for name, valid in (
            ("pooling", POOLINGS),
            ("head", HEADS),
            ("target", TARGETS),
            ("loss", LOSSES),
        ):
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"{name}: {getattr(self, name)!r} is unknown; valid: {', '.join(valid)}"
                )

    @property
    def name(self) -> str:
        """The settings, joined by hyphens."""
        head = self.head if self.head == "linear" else f"{self.head}{self.width}"
        return "-".join(
            (self.pooling, head, "prior" if self.prior else "alone", self.target, self.loss)
        )


class BlockPredictor(nn.Module):
    """Log-scores [n, f] of blocks [n, B, d]; the scores start from log_prior [f].

    mean, scale [d] standardise the inputs; centre, spread [into] standardise the pooled features
    (0 and 1 until they are set).
    """

    mean: Tensor
    scale: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, variant: Variant, mean: Tensor, scale: Tensor, log_prior: Tensor) -> None:
        super().__init__()
        self.variant, d, f = variant, len(mean), len(log_prior)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.offset = nn.Parameter(
            log_prior.clone()
            if variant.prior
            else torch.full_like(log_prior, float(log_prior.mean()))
        )
        into = d * QUERIES if variant.pooling == "attention" else d
        self.register_buffer("centre", torch.zeros(into))
        self.register_buffer("spread", torch.ones(into))
        if variant.pooling == "attention":
            self.queries = nn.Parameter(torch.randn(QUERIES, d) * d**-0.5)
        if variant.head == "linear":
            self.head: nn.Module = nn.Linear(into, f, bias=False)
        else:
            between = [nn.SiLU()] if variant.head == "mlp" else []
            self.head = nn.Sequential(
                nn.Linear(into, variant.width, bias=variant.head == "mlp"),
                *between,
                nn.Linear(variant.width, f, bias=False),
            )
        last = self.head[-1] if isinstance(self.head, nn.Sequential) else self.head
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def pooled(self, x: Tensor) -> Tensor:
        """Features [n, B or 1, into] of standardised blocks x [n, B, d]."""
        if self.variant.pooling == "mean":
            return x.mean(1, keepdim=True)
        if self.variant.pooling == "max":
            return x.amax(1, keepdim=True)
        if self.variant.pooling == "attention":
            weights = (x @ self.queries.T).softmax(1)
            return (weights.transpose(1, 2) @ x).flatten(1).unsqueeze(1)
        return x

    @torch.no_grad()
    def standardise(self, blocks: Tensor) -> None:
        """Set centre and spread from blocks [n, B, d]; scored tokens are standardised already."""
        if self.variant.pooling != "token":
            features = self.pooled((blocks.float() - self.mean) / self.scale)[:, 0]
            self.centre, self.spread = features.mean(0), features.std(0).clamp_min(1e-6)

    def forward(self, blocks: Tensor) -> Tensor:
        """Log-scores [n, f]."""
        features = self.pooled((blocks.float() - self.mean) / self.scale)
        shift = self.head((features - self.centre) / self.spread)
        if self.variant.pooling == "token":
            shift = (
                shift.clamp(-LIMIT, LIMIT).logsumexp(1) - torch.tensor(float(shift.shape[1])).log()
            )
        else:
            shift = shift[:, 0]
        return self.offset + shift

    def flops(self, block: int) -> float:
        """FLOPs of one block of `block` tokens."""
        d, f, variant = len(self.mean), len(self.offset), self.variant
        into = d * QUERIES if variant.pooling == "attention" else d
        head = 2.0 * into * f if variant.head == "linear" else 2.0 * variant.width * (into + f)
        pooling = 4.0 * QUERIES * d * block if variant.pooling == "attention" else float(d * block)
        return head * block + f * block if variant.pooling == "token" else head + pooling
