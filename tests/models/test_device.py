"""Device and dtype: what auto means, refusals, and the line at a run's start."""

import pytest
import torch

from ffbench.models import device as devices
from ffbench.models.errors import ModelError

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(
    ("name", "device", "amx", "stored", "expected"),
    [
        ("auto", CPU, False, "bfloat16", "float32"),
        ("auto", CPU, True, "bfloat16", "bfloat16"),
        ("auto", CPU, True, None, "float32"),
        ("auto", CPU, True, "float8_e4m3fn", "float32"),
        ("auto", CUDA, False, "float16", "float16"),
        ("auto", CUDA, False, "float32", "float32"),
        ("auto", CUDA, False, None, "bfloat16"),
        ("float16", CPU, False, "bfloat16", "float16"),
    ],
)
def test_what_auto_means(
    name: str,
    device: torch.device,
    amx: bool,
    stored: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "has_amx", lambda: amx)
    assert devices.resolve_dtype(name, device, stored) == expected


def with_cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: f"Card {index}")


@pytest.mark.parametrize(
    ("name", "cards", "text"),
    [
        ("cuda", 0, "sees no CUDA card"),
        ("cuda:3", 2, "torch sees 2 cards; use cuda:0 to cuda:1"),
        ("cuda:1", 1, "torch sees 1 card"),
        ("gpu", 1, "model.device: 'gpu' is unknown. Valid: auto, cpu, cuda, cuda:N, mps"),
        ("cuda:x", 1, "is unknown"),
        ("mps", 0, "not available here"),
    ],
)
def test_devices_that_are_not_here(
    name: str, cards: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cards(monkeypatch, cards)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError) as refused:
        devices.resolve_device(name)
    assert text in str(refused.value)


def test_auto_takes_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(monkeypatch, 2)
    assert devices.resolve_device("auto") == torch.device("cuda:0")
    assert devices.resolve_device("cuda:1") == torch.device("cuda:1")
    assert devices.resolve_device("cpu") == CPU
    with_cards(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.resolve_device("auto") == CPU


def test_an_unused_card_is_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(monkeypatch, 1)
    line = devices.start_line(CPU, torch.float32, "native")
    assert "float32, kernel backend native" in line
    assert "WARNING: Card 0 is present but not used; use model.device=cuda" in line
    used = devices.start_line(CUDA, "bfloat16", "triton")
    assert used == "device cuda:0 (Card 0), bfloat16, kernel backend triton"


def test_a_card_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    with_cards(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "NVIDIA_CARDS", tmp_path)
    assert devices.unused_card(CPU) is None
    (tmp_path / "0000:01:00.0").mkdir()
    assert "install a CUDA build" in str(devices.unused_card(CPU))
