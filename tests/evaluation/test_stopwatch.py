"""The clock of a prefill, on a CPU and on a card that is played by a list of what it was asked."""

from typing import Any

import pytest
import torch
from tiny_plans import prompt, random_tiny_plan, tiny_model

from ffbench.evaluation import speed, stopwatch
from ffbench.evaluation.stopwatch import Stopwatch

CARD = torch.device("cuda", 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the card was asked, in order; an event's time is the number of events before it."""
    log: list[Any] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.at = -1

        def record(self, stream: Any) -> None:
            assert stream == ("stream", CARD), "recorded on another card"
            self.at = sum(entry == "event" for entry in log)
            log.append("event")

        def elapsed_time(self, end: Any) -> float:
            assert log[-1] == ("wait", CARD), "read before the card was done"
            return float(end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("stream", device))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append(("wait", device)))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: log.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 << 20)
    return log


def test_nothing_waits_inside_a_prefill_on_a_card(asked: list[Any]) -> None:
    model, ids = tiny_model(), prompt(40)
    hooked: list[bool] = []

    def call() -> None:
        asked.append("begin")
        hooked.append(any(module._forward_hooks for module in model.modules()))
        model(ids)
        asked.append("end")

    whole, ffn = Stopwatch(1, CARD).round(model, call)
    layers, wait = len(model.model.layers), ("wait", CARD)
    timed = [wait, "begin", "end", wait]
    assert asked == [*timed, "begin", *["event"] * 2 * layers, "end", wait]
    assert hooked == [False, True] and whole > 0
    assert ffn == pytest.approx(layers / 1e3)  # a millisecond between the two events of each layer
    assert not any(module._forward_hooks for module in model.modules())


def test_a_card_warms_up_and_its_memory_is_read(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stopwatch.WARM_UP_SECONDS, "cuda", 0.05)
    calls: list[int] = []
    assert Stopwatch(1, CARD).warm_up(lambda: calls.append(1)) == 7 << 20
    assert len(calls) > 1 and asked[0] == "reset"


def test_a_cpu_is_called_once_and_has_no_peak(asked: list[Any]) -> None:
    calls: list[int] = []
    watch = Stopwatch(1, torch.device("cpu"))
    assert watch.warm_up(lambda: calls.append(1)) is None and len(calls) == 1
    model = tiny_model()
    whole, ffn = watch.round(model, lambda: (calls.append(1), model(prompt(40))))
    assert len(calls) == 2 and 0 < ffn < whole and asked == []


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_the_peak_of_each_arm_is_kept(
    room: int, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stopwatch.WARM_UP_SECONDS, "cuda", 0.0)
    monkeypatch.setattr(speed, "Stopwatch", lambda threads, device: Stopwatch(threads, CARD))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (room, 1 << 40))
    model = tiny_model()
    plan = random_tiny_plan(model, compensator="surrogate")
    (times,) = speed.prefill_times(model, plan, [70], 2, 1, "torch")
    arms = {*speed.ARMS} | ({"merged_gate_up"} if room else set())
    assert times.peak_bytes == dict.fromkeys(arms, 7 << 20)
    assert all(len(times.ffn[arm]) == len(times.prefill[arm]) == 2 for arm in arms)
    found = times.baseline_metrics()
    assert set(found) == arms - set(speed.ARMS)
    assert all(one["seconds"] > 0 and one["ratio"] > 0 for one in found.values())
