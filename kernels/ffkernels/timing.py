"""Clocks, statistics and the machine's facts for the benchmark."""

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

CACHE_BYTES = {"cpu": 8 << 20, "cuda": 256 << 20}


def cpu_name() -> str:
    """Return the processor's model name and its widest vector instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in text.splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or platform.machine(),
    )
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"


def git_sha() -> str | None:
    """Commit of the checkout that this file is in, with "-dirty" where files differ; None outside a
    checkout.
    """
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            check=True,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def once(fn: Callable[[], object], threads: int, device: str = "cpu") -> float:
    """Return seconds of one call: processor time with one thread, wall time with more or on a
    card.
    """
    wait = torch.cuda.synchronize if device == "cuda" else None
    clock = time.process_time if threads == 1 and not wait else time.perf_counter
    if wait:
        wait()
    start = clock()
    fn()
    if wait:
        wait()
    return clock() - start


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int, threads: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Run every variant once per round, one after the other, after one warm-up round each.

    Before each timed call the caches near the cores (the L2 of a card) are overwritten, so that no
    variant finds what another left there.
    """
    for fn in variants.values():
        fn()
    evictor = torch.zeros(CACHE_BYTES[device], dtype=torch.uint8, device=device)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, fn in variants.items():
            evictor.add_(1)
            times[name].append(once(fn, threads, device))
    return times


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return the median, 20th and 80th percentile."""
    values = sorted(values)
    last = len(values) - 1
    return statistics.median(values), values[round(0.2 * last)], values[round(0.8 * last)]


def ratios(base: list[float], other: list[float]) -> tuple[float, float, float]:
    """Return the median, 20th and 80th percentile of base/other, round by round."""
    return spread([b / o for b, o in zip(base, other, strict=True)])


def peak_gflops(
    dtype: torch.dtype,
    threads: int,
    device: str = "cpu",
    sizes: tuple[int, ...] = (1024, 2048),
    rounds: int = 7,
) -> float:
    """Return the best rate of square torch GEMMs of these sizes: the practical peak of this
    machine.
    """
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, dtype=dtype, device=device)
        seconds = min(
            once(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), threads, device)  # type: ignore[misc]
            for _ in range(rounds)
        )
        best = max(best, 2 * size**3 / seconds / 1e9)
    return best
