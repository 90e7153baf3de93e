"""The forms: how tokens become a block, what maps a block to neurons, what it learns from."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

POOLINGS = ("mean", "max", "attention", "token")
HEADS = ("linear", "low_rank", "mlp")
TARGETS = ("residual", "griffin", "output")
LOSSES = ("log", "bce", "listwise")
QUERIES = 4
LIMIT = 4.0


@dataclass(frozen=True)
class Form:
    """One variant. pooling: mean or max over the block, attention with 4 learned queries, or token:
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
        """The settings in one word."""
        head = self.head if self.head == "linear" else f"{self.head}{self.width}"
        return "-".join(
            (self.pooling, head, "prior" if self.prior else "alone", self.target, self.loss)
        )


class BlockPredictor(nn.Module):
    """Log-scores [n, f] of blocks [n, B, d]; log_prior [f] is where it starts.

    mean, scale [d] standardise the inputs; centre, spread [into] what is pooled of them (0 and 1
    until they are set).
    """

    mean: Tensor
    scale: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, form: Form, mean: Tensor, scale: Tensor, log_prior: Tensor) -> None:
        super().__init__()
        self.form, d, f = form, len(mean), len(log_prior)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.offset = nn.Parameter(
            log_prior.clone() if form.prior else torch.full_like(log_prior, float(log_prior.mean()))
        )
        into = d * QUERIES if form.pooling == "attention" else d
        self.register_buffer("centre", torch.zeros(into))
        self.register_buffer("spread", torch.ones(into))
        if form.pooling == "attention":
            self.queries = nn.Parameter(torch.randn(QUERIES, d) * d**-0.5)
        if form.head == "linear":
            self.head: nn.Module = nn.Linear(into, f, bias=False)
        else:
            between = [nn.SiLU()] if form.head == "mlp" else []
            self.head = nn.Sequential(
                nn.Linear(into, form.width, bias=form.head == "mlp"),
                *between,
                nn.Linear(form.width, f, bias=False),
            )
        last = self.head[-1] if isinstance(self.head, nn.Sequential) else self.head
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def pooled(self, x: Tensor) -> Tensor:
        """Features [n, B or 1, into] of standardised blocks x [n, B, d]."""
        if self.form.pooling == "mean":
            return x.mean(1, keepdim=True)
        if self.form.pooling == "max":
            return x.amax(1, keepdim=True)
        if self.form.pooling == "attention":
            weights = (x @ self.queries.T).softmax(1)
            return (weights.transpose(1, 2) @ x).flatten(1).unsqueeze(1)
        return x

    @torch.no_grad()
    def standardise(self, blocks: Tensor) -> None:
        """Set centre and spread from blocks [n, B, d]; scored tokens are standardised already."""
        if self.form.pooling != "token":
            features = self.pooled((blocks.float() - self.mean) / self.scale)[:, 0]
            self.centre, self.spread = features.mean(0), features.std(0).clamp_min(1e-6)

    def forward(self, blocks: Tensor) -> Tensor:
        """Log-scores [n, f]."""
        features = self.pooled((blocks.float() - self.mean) / self.scale)
        shift = self.head((features - self.centre) / self.spread)
        if self.form.pooling == "token":
            shift = (
                shift.clamp(-LIMIT, LIMIT).logsumexp(1) - torch.tensor(float(shift.shape[1])).log()
            )
        else:
            shift = shift[:, 0]
        return self.offset + shift

    def flops(self, block: int) -> float:
        """FLOPs of one block of `block` tokens."""
        d, f, form = len(self.mean), len(self.offset), self.form
        into = d * QUERIES if form.pooling == "attention" else d
        head = 2.0 * into * f if form.head == "linear" else 2.0 * form.width * (into + f)
        pooling = 4.0 * QUERIES * d * block if form.pooling == "attention" else float(d * block)
        return head * block + f * block if form.pooling == "token" else head + pooling
