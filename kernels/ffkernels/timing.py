"""Clocks and statistics for the benchmark."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def cpu_name() -> str:
    """Return the processor's model name and its widest vector instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")),
                 platform.processor() or platform.machine())
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"


def once(fn: Callable[[], object], threads: int) -> float:
    """Return seconds of one call: processor time with one thread, wall time with more."""
    clock = time.process_time if threads == 1 else time.perf_counter
    start = clock()
    fn()
    return clock() - start


def interleaved(variants: Mapping[str, Callable[[], object]], rounds: int, threads: int) -> dict[str, list[float]]:
    """Run every variant once per round, one after the other, after one warm-up round each."""
    for fn in variants.values():
        fn()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, fn in variants.items():
            times[name].append(once(fn, threads))
    return times


def ratios(base: list[float], other: list[float]) -> tuple[float, float, float]:
    """Return the median, 20th and 80th percentile of base/other, round by round."""
    values = sorted(b / o for b, o in zip(base, other, strict=True))
    last = len(values) - 1
    return statistics.median(values), values[round(0.2 * last)], values[round(0.8 * last)]


def peak_gflops(dtype: torch.dtype, threads: int, size: int = 1024, rounds: int = 7) -> float:
    """Return the best rate of a square torch GEMM [size, size]: the practical peak of this machine."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    out = torch.empty(size, size, dtype=dtype)
    torch.mm(a, b, out=out)
    best = min(once(lambda: torch.mm(a, b, out=out), threads) for _ in range(rounds))
    return 2 * size**3 / best / 1e9
