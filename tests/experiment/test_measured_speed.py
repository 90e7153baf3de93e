"""Measured speed: where the model is while other processes measure it, and who waits for whom."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ffbench.experiment.measured_speed import measured_once, off_the_card
from ffbench.runs.cache import StageCache
from ffbench.runs.machine import Machine
from ffbench.runs.stage import Stage


class Model:
    """Something with weights on devices that remembers where it was sent."""

    def __init__(self, *devices: str) -> None:
        self.devices = [torch.device(name) for name in devices]
        self.device = self.devices[0]
        self.sent: list[str] = []

    def parameters(self) -> list[Any]:
        return [type("Weight", (), {"device": device})() for device in self.devices]

    def to(self, device: Any) -> None:
        self.sent.append(str(device))


@pytest.mark.parametrize(
    ("devices", "inside", "after"),
    [
        (["cuda:1", "cuda:1"], ["cpu"], ["cpu", "cuda:1"]),
        (["cuda:0", "cuda:1"], [], []),
        (["cpu", "cpu"], [], []),
    ],
)
def test_a_model_leaves_its_card_and_comes_back(
    devices: list[str], inside: list[str], after: list[str]
) -> None:
    model = Model(*devices)
    with pytest.raises(KeyError), off_the_card(model):
        assert model.sent == inside
        raise KeyError
    assert model.sent == after


def test_the_machine_is_taken_before_the_lock_of_the_measurement(tmp_path: Path) -> None:
    """A job that held the lock while it waits for the machine would wait for the jobs that wait
    for the lock, without end.
    """
    events: list[str] = []

    class Noted(Machine):
        @contextmanager
        def alone(self) -> Iterator[None]:
            with super().alone():
                events.append("alone")
                yield
            events.append("no longer alone")

    class NotedCache(StageCache):
        def get_or_make(
            self, stage: str, key: str, make: Callable[[Path], None], **more: Any
        ) -> Path:
            events.append("lock")
            return super().get_or_make(stage, key, make, **more)

    def measure() -> dict[str, Any]:
        events.append("measure")
        return {"ratio": 1.5}

    cache, stage = NotedCache(tmp_path), Stage("speed", 1, {})
    with Noted(tmp_path) as machine:
        first = measured_once(cache, machine, stage, measure)
        assert events == ["alone", "lock", "measure", "no longer alone"]
        assert measured_once(cache, machine, stage, measure) == first == {"ratio": 1.5}
    assert events.count("measure") == events.count("alone") == 1
    assert measured_once(cache, None, Stage("speed", 2, {}), measure) == first
