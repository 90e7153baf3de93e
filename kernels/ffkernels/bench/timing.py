"""Clocks and statistics of the benchmark."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

# Bytes overwritten before each timed call: more than the L2 cache of a core (1 to 2 MB) or of a
# card (50 MB on an H100).
CACHE_BYTES = {"cpu": 8 << 20, "cuda": 256 << 20}
# A card reaches its clocks after tens of milliseconds of work.
WARM_UP_SECONDS = {"cpu": 0.0, "cuda": 0.5}
# Side of the square products that give the peak. 2048^3 takes 22 us on an H100, little more than a
# launch; a CPU core needs seconds for 8192^3.
PEAK_SIZES = {"cpu": (1024, 2048), "cuda": (8192,)}


def once(fn: Callable[[], object], threads: int, device: str = "cpu") -> float:
    """Return seconds of one call.

    On a card the time between two CUDA events around the queued work; else processor time with one
    thread and wall time with more.
    """
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        fn()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    clock = time.process_time if threads == 1 else time.perf_counter
    begin = clock()
    fn()
    return clock() - begin


def latency(fn: Callable[[], object], rounds: int) -> float:
    """Return the median seconds that the host needs to queue one call on a card."""
    seconds = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        fn()
        seconds.append(time.perf_counter() - begin)
    torch.cuda.synchronize()
    return statistics.median(seconds)


def replayed(fn: Callable[[], object]) -> Callable[[], object]:
    """Capture the work of fn in a CUDA graph and return its replay: kernel time without launches.

    RuntimeError if a call cannot be captured.
    """
    for _ in range(3):  # compile and allocate before the capture
        fn()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        fn()
    return graph.replay


def warm_up(fn: Callable[[], object], device: str) -> None:
    """Call fn once, and on a card until its clocks are up."""
    begin = time.perf_counter()
    fn()
    while time.perf_counter() - begin < WARM_UP_SECONDS[device]:
        fn()
        torch.cuda.synchronize()


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int, threads: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Run every variant once per round, one after another, after a warm-up of each.

    Before each timed call the caches near the cores (the L2 of a card) are overwritten, so that no
    variant profits from what another one left there.
    """
    for fn in variants.values():
        warm_up(fn, device)
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


def peak_gflops(dtype: torch.dtype, threads: int, device: str = "cpu", rounds: int = 7) -> float:
    """Return the best rate of square torch GEMMs of random numbers: the practical peak."""
    best = 0.0
    for size in PEAK_SIZES[device]:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, dtype=dtype, device=device)
        seconds = min(
            once(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), threads, device)  # type: ignore[misc]
            for _ in range(rounds)
        )
        best = max(best, 2 * size**3 / seconds / 1e9)
    return best
