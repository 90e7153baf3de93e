"""The calls that the benchmark times against each other."""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ffkernels.bench import cases, timing
from ffkernels.bench.cases import Case

NAMES = {
    "sparse": "sparse",
    "self": "same backend, dense",
    "eager": "torch eager, dense",
    "merged": "torch eager, merged",
    "compiled": "torch.compile, dense",
}
Calls = dict[str, Callable[[], Any]]


class DenseModule(torch.nn.Module):
    """The dense FFN with its weights as parameters, which lets the compiler pack them once."""

    def __init__(self, *weights: Tensor) -> None:
        super().__init__()
        self.gate, self.up, self.down = (
            torch.nn.Parameter(w, requires_grad=False) for w in weights
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return y [T, d] of x [T, d]."""
        return cases.dense(x, self.gate, self.up, self.down)


def compiled_dense(case: Case) -> tuple[Callable[[], Any] | None, str | None]:
    """torch.compile for the dense call of every layer, or None with the reason.

    On the CPU with max-autotune and frozen (packed) weights, on a card with max-autotune, which
    uses CUDA graphs.
    """
    module = DenseModule(case.gate, case.up, case.down)
    frozen: dict[str, Any] = {"options": {"max_autotune": True, "freezing": True}}
    settings = frozen if case.device == "cpu" else {"mode": "max-autotune"}
    try:
        fn = torch.compile(module, fullgraph=True, **settings)
        fn(case.x)
    except (RuntimeError, OSError, ValueError) as error:
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return lambda: [fn(case.x) for _ in case.sets.layers], None


def calls(a: argparse.Namespace, case: Case) -> tuple[Calls, str | None]:
    """The calls to time by name, and the reason if torch.compile is left out."""
    timed: Calls = {
        "eager": case.eager,
        "merged": case.eager_merged,
        "self": lambda: case.own_dense(a.backend),
        "sparse": lambda: case.sparse(a.backend),
    }
    if a.no_compile:
        return timed, "--no-compile"
    compiled, reason = compiled_dense(case)
    return timed | ({"compiled": compiled} if compiled else {}), reason


def on_card(timed: Calls, rounds: int) -> tuple[Calls, dict[str, Any]]:
    """On a card: replays of CUDA graphs in place of the calls, and what each call costs the host.

    The fields: `latency_seconds` and `peak_bytes` by variant, and `graphs`, the variants that are
    timed as graphs. torch.compile has graphs of its own; a call that cannot be captured is timed
    as it is.
    """
    latency, peak, replays = {}, {}, dict(timed)
    for name, fn in timed.items():
        torch.cuda.reset_peak_memory_stats()
        latency[name] = timing.latency(fn, rounds)
        peak[name] = torch.cuda.max_memory_allocated()
        if name != "compiled":
            try:
                replays[name] = timing.replayed(fn)
            except RuntimeError:
                torch.cuda.synchronize()
    graphs = [name for name in timed if replays[name] is not timed[name]]
    return replays, {"latency_seconds": latency, "peak_bytes": peak, "graphs": graphs}
