"""Random problems, an independent masked dense computation, and the tolerance that follows from
it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ACTS = {
    "silu": lambda g: g * torch.sigmoid(g),
    "gelu_tanh": lambda g: torch.nn.functional.gelu(g, approximate="tanh"),
    "gelu_pytorch_tanh": lambda g: torch.nn.functional.gelu(g, approximate="tanh"),
    "gelu": lambda g: torch.nn.functional.gelu(g),
    "relu": lambda g: g.clamp(min=0),
}


def make(
    tokens: int,
    d: int,
    f: int,
    block: int,
    k: int,
    *,
    hot: int = 0,
    rank: int = 0,
    bias: bool = False,
    extra: int = 0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> dict[str, Any]:
    """Return keyword arguments of `sparse_gated_ffn` with random tensors."""
    gen = torch.Generator().manual_seed(seed)

    def rand(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=gen, dtype=torch.float64) * scale).to(dtype)

    rows = [
        torch.randperm(f - hot, generator=gen)[:k].sort()[0] + hot
        for _ in range(-(-tokens // block))
    ]
    args: dict[str, Any] = {
        "x": rand(tokens, d),
        "w_gate": rand(f, d, scale=d**-0.5),
        "w_up": rand(f, d, scale=d**-0.5),
        "w_down_t": rand(f, d, scale=f**-0.5),
        "block_size": block,
        "hot": hot,
        "indices": torch.stack(rows) if rows else torch.empty(0, k, dtype=torch.int64),
    }
    if rank:
        args |= {"z": rand(tokens, rank), "v": rand(f, rank, scale=0.3 * rank**-0.5)}
    if bias:
        args["c"] = rand(f, scale=0.3)
    if extra:
        args |= {"extra": rand(tokens, extra), "w_extra": rand(extra, d, scale=extra**-0.5)}
    return args


def make_ragged(
    counts: Sequence[int],
    block: int,
    d: int,
    f: int,
    *,
    short: int = 0,
    hot: int = 0,
    rank: int = 0,
    bias: bool = False,
    extra: int = 0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> dict[str, Any]:
    """Return keyword arguments of a call in which block b keeps counts[b] neurons.

    The last block lacks `short` tokens. Indices and offsets are int32."""
    tokens = len(counts) * block - short
    sizes = {"hot": hot, "rank": rank, "extra": extra}
    args = make(tokens, d, f, block, 0, **sizes, bias=bias, dtype=dtype, seed=seed)
    gen = torch.Generator().manual_seed(seed + 1)
    kept = [torch.randperm(f - hot, generator=gen)[:k].sort()[0] + hot for k in counts]
    args["indices"] = torch.cat(kept).int()
    args["offsets"] = torch.tensor([0, *counts]).cumsum(0).int()
    return args


def kept_by_block(args: dict[str, Any]) -> list[Tensor]:
    """The dynamic neurons of each block of a call's arguments."""
    if args.get("offsets") is None:
        return list(args["indices"])
    bounds = args["offsets"].tolist()
    return [args["indices"][a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def masked_dense(args: dict[str, Any], dtype: torch.dtype, activation: str = "silu") -> Tensor:
    """Compute all neurons for all tokens in `dtype`, then zero what is not kept."""
    x, wg, wu, wd = (args[n].to(dtype) for n in ("x", "w_gate", "w_up", "w_down_t"))
    tokens, f = len(x), len(wg)
    dynamic, kept = torch.zeros(tokens, f, dtype=torch.bool), kept_by_block(args)
    for t in range(tokens):
        dynamic[t, kept[t // args["block_size"]]] = True
    h = ACTS[activation](x @ wg.T) * (x @ wu.T)
    correction = torch.zeros(tokens, f, dtype=dtype)
    if args.get("z") is not None:
        correction += args["z"].to(dtype) @ args["v"].to(dtype).T
    if args.get("c") is not None:
        correction += args["c"].to(dtype)
    kept = h - correction
    is_hot = torch.arange(f) < args["hot"]
    y = torch.where(is_hot, h, torch.where(dynamic, kept, torch.zeros((), dtype=dtype))) @ wd
    if args.get("extra") is not None:
        y += args["extra"].to(dtype) @ args["w_extra"].to(dtype)
    return y


def assert_close(got: Tensor, args: dict[str, Any], activation: str = "silu") -> None:
    """Compare with float64; allow four times the worst error of the masked computation in the input
    dtype.

    float64 has no exact counterpart, so its worst error is that of float32 scaled by the ratio of
    their eps. One more rounding of the largest output is allowed, for results that are exact in the
    masked computation."""
    dtype = args["x"].dtype
    exact = masked_dense(args, torch.float64, activation)
    assert got.dtype == dtype and got.shape == exact.shape and got.is_contiguous()
    if exact.numel() == 0:
        return
    low = torch.float32 if dtype == torch.float64 else dtype
    own = (masked_dense(args, low, activation).double() - exact).abs().max().item()
    own *= torch.finfo(dtype).eps / torch.finfo(low).eps
    limit = 4 * own + torch.finfo(dtype).eps * exact.abs().max().item()
    error = (got.double() - exact).abs().max().item()
    assert error <= limit, f"error {error:.3g} above {limit:.3g}"
