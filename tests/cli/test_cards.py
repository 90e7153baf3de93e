"""A card per process: which cards there are, how many processes fit, who takes which."""

import fcntl
import os
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ffbench.cli import cards


def job(device: str = "auto") -> SimpleNamespace:
    return SimpleNamespace(settings=SimpleNamespace(model=SimpleNamespace(device=device)))


@pytest.mark.parametrize(
    ("devices", "variable", "count", "expected"),
    [
        (["auto"], None, 2, ["0", "1"]),
        (["auto"], None, 0, []),
        (["cpu", "cpu"], None, 2, []),
        (["cpu", "cuda"], None, 2, ["0", "1"]),
        (["auto"], "3, 5", 2, ["3", "5"]),
        (["auto"], "", 2, []),
        (["cuda"], "GPU-1a2b", 1, ["GPU-1a2b"]),
    ],
)
def test_which_cards_processes_may_use(
    devices: list[str],
    variable: str | None,
    count: int,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv(cards.VISIBLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(cards.VISIBLE, variable)
    assert cards.visible_cards([job(device) for device in devices]) == expected  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("there", "processes", "text"),
    [
        ([], 4, None),
        (["0", "1"], 2, None),
        (["0", "1"], None, None),
        (["0", "1"], 3, "3 processes on 2 cards; use hydra.launcher.n_jobs=2, or model.device=cpu"),
        (["0"], -1, "a process per core on 1 card;"),
    ],
)
def test_more_processes_than_cards(
    there: list[str], processes: int | None, text: str | None
) -> None:
    problem = cards.card_problem(there, processes)
    assert (problem is None) == (text is None) and (text is None or text in str(problem))


def test_a_process_keeps_its_card_and_others_take_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "_claimed", [])
    monkeypatch.setenv(cards.VISIBLE, "0,1,2")
    (tmp_path / ".machines").mkdir()
    other = os.open(
        tmp_path / ".machines" / f"{platform.node()}.card-0", os.O_RDWR | os.O_CREAT, 0o666
    )
    fcntl.flock(other, fcntl.LOCK_EX)
    assert cards.claim_card(str(tmp_path), ["0", "1", "2"]) == "1"
    assert os.environ[cards.VISIBLE] == "1"
    assert cards.claim_card(str(tmp_path), ["0", "1", "2"]) == "1"
    monkeypatch.setattr(cards, "_claimed", [])
    assert cards.claim_card(str(tmp_path), ["0", "1"]) is None
    os.close(other)


def test_a_card_is_free_again_when_its_process_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cards.VISIBLE, "0")
    claimed: list[int] = []
    monkeypatch.setattr(cards, "_claimed", claimed)
    assert cards.claim_card(str(tmp_path), ["0"]) == "0"
    os.close(claimed[0])
    monkeypatch.setattr(cards, "_claimed", [])
    assert cards.claim_card(str(tmp_path), ["0"]) == "0"
