"""Measured speed: where the model is while other processes measure it."""

from typing import Any

import pytest
import torch

from ffbench.experiment.measured_speed import off_the_card


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
