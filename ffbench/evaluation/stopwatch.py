"""Time of one prefill and of its FFNs, on a CPU or a card."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ffbench.models.adapters import gated_ffns
from ffkernels.bench.timing import WARM_UP_SECONDS


class Stopwatch:
    """Clock of one measurement: processor time with one thread, wall time with more or on an
    accelerator.
    """

    def __init__(self, threads: int, device: torch.device) -> None:
        self.device, self.on_card = device, device.type == "cuda"
        one_thread = threads == 1 and not self.on_card
        self._read = time.process_time if one_thread else time.perf_counter

    def now(self) -> float:
        """Seconds, after all work given to the device is done."""
        if self.on_card:
            torch.cuda.synchronize(self.device)
        return self._read()

    def seconds(self, call: Callable[[], object]) -> float:
        """Seconds of a call."""
        start = self.now()
        call()
        return self.now() - start

    def round(self, model: Any, call: Callable[[], object]) -> tuple[float, float]:
        """Seconds of a call that runs the model once, and of the FFNs in it, selector and
        compensator included.

        On a card the call is made twice: whatever looks at the FFNs between their launches would
        slow the whole prefill down.
        """
        if self.on_card:
            whole = self.seconds(call)
            with ffn_events(model, self.device) as events:
                call()
            torch.cuda.synchronize(self.device)
            return whole, sum(start.elapsed_time(end) for start, end in events) / 1e3
        with ffn_seconds(model, self.now) as seconds:
            whole = self.seconds(call)
        return whole, sum(seconds)

    def warm_up(self, call: Callable[[], object]) -> int | None:
        """Make a call until the device is ready: once, and on a card until its clocks are up.

        Returns the most memory of the card that a call has in use, weights included; None on a CPU.
        """
        if not self.on_card:
            call()
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        begin = self.now()
        call()  # compiles kernels, too
        while self.now() - begin < WARM_UP_SECONDS["cuda"]:
            call()
        return int(torch.cuda.max_memory_allocated(self.device))


@contextmanager
def around_ffns(model: Any, start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Call `start` before and `stop` after each FFN of the model."""
    handles = []
    for ffn in gated_ffns(model):
        handles += [
            ffn.module.register_forward_pre_hook(lambda module, args: start()),
            ffn.module.register_forward_hook(lambda module, args, output: stop()),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def ffn_seconds(model: Any, now: Callable[[], float]) -> Iterator[list[float]]:
    """Collect the seconds that each FFN call of the model takes by the clock `now`."""
    seconds: list[float] = []
    started = [0.0]

    def start() -> None:
        started[0] = now()

    with around_ffns(model, start, lambda: seconds.append(now() - started[0])):
        yield seconds


@contextmanager
def ffn_events(model: Any, device: torch.device) -> Iterator[list[tuple[Any, Any]]]:
    """Collect a CUDA event of the card `device` before and after each FFN call of the model,
    without waiting for any.
    """
    events: list[tuple[Any, Any]] = []

    def event() -> Any:
        made = torch.cuda.Event(enable_timing=True)
        made.record(torch.cuda.current_stream(device))  # the current card may be another one
        return made

    def start() -> None:
        events.append((event(), None))

    def stop() -> None:
        events[-1] = (events[-1][0], event())

    with around_ffns(model, start, stop):
        yield events
