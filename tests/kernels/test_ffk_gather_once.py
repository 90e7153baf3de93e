"""The backend that copies a block's rows once: what it asks of a card, and when it is taken.

Its numbers are checked with those of the other backends in test_ffk_numbers.py.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import ffk_cases
import pytest
import torch
from card_counts import Watch
from simulated_card import CARD, simulated_card

import ffkernels
from ffkernels import backends, gather_once
from ffkernels.problem import Problem

HALF = torch.bfloat16


def on_card(args: dict) -> Problem:
    """The call with its tensors on the simulated card."""
    there = {n: v.to(CARD) if isinstance(v, torch.Tensor) else v for n, v in args.items()}
    return Problem(**there).normalized("silu")


@pytest.mark.parametrize("hot", [0, 8])
def test_a_card_is_not_read_and_each_block_costs_twelve_launches(hot: int) -> None:
    args = ffk_cases.make(70, 24, 50, 16, 13, hot=hot, rank=4, bias=True)
    with simulated_card():
        problem = on_card(args)
        with Watch() as watch:
            y = gather_once.sparse(problem)
        ffk_cases.assert_close(y.cpu(), args)
    seen = watch.outside
    assert not seen.reads and not seen.uploads
    assert seen.launches["mm"] == 3 * 5 and seen.launches["index_select"] == 5 * 5
    copies = 3 if hot else 0  # of the hot rows, once per call
    assert seen.launches["copy_"] == copies
    assert sum(seen.launches.values()) == 5 * 12 + copies, seen.launches


def test_a_number_of_neurons_per_block_is_read_once() -> None:
    args = ffk_cases.make_ragged([13, 0, 50, 7], 16, 24, 50)
    with simulated_card():
        problem = on_card(args)
        with Watch() as watch:
            y = gather_once.sparse(problem)
        ffk_cases.assert_close(y.cpu(), args)
    assert watch.outside.reads == Counter({"_to_copy": 1})


def test_a_dense_call_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    args = ffk_cases.make(37, 24, 50, 8, 0, hot=50)
    monkeypatch.setattr(torch.Tensor, "new_empty", pytest.fail)
    got = ffkernels.dense_gated_ffn(
        *(args[n] for n in ("x", "w_gate", "w_up", "w_down_t")), backend="gather_once"
    )
    ffk_cases.assert_close(got, args)


@pytest.fixture
def a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton says that it can run on a card of compute capability 9.0."""
    pytest.importorskip("triton")
    from ffkernels.triton import launch, tiles

    monkeypatch.delenv(tiles.VARIABLE, raising=False)
    tiles.measured.cache_clear()
    monkeypatch.setattr(launch.knobs, "runtime", SimpleNamespace(interpret=False))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))


def fake(dtype: torch.dtype) -> torch.Tensor:
    """A tensor that says it is on a card."""
    return SimpleNamespace(device=torch.device("cuda"), dtype=dtype)  # type: ignore[return-value]


@pytest.mark.usefixtures("a_card")
@pytest.mark.parametrize(
    ("dtype", "block", "expected"),
    [
        (HALF, 128, "triton"),
        (HALF, 1023, "triton"),
        (HALF, 1024, "gather_once"),
        (HALF, None, "triton"),
        (torch.float32, 64, "triton"),
        (torch.float32, 128, "gather_once"),
    ],
    ids=str,
)
def test_auto_takes_it_for_long_blocks(
    dtype: torch.dtype, block: int | None, expected: str
) -> None:
    assert backends.name_of(backends.load("auto", fake(dtype), block)) == expected
    assert backends.name_of(backends.load("triton", fake(dtype), block)) == "triton"


@pytest.mark.usefixtures("a_card")
def test_a_measurement_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ffkernels.triton import tiles

    path = tmp_path / "tiles.jsonl"
    monkeypatch.setenv(tiles.VARIABLE, str(path))

    def write(block: int, taken: str) -> None:
        pair = {"gate_up": asdict(tiles.default_gate_up(90, False, block))}
        pair |= {"down": asdict(tiles.default_down(90, False, block))}
        line = {"arch": 90, "float32": False, "block_size": block, "path": taken} | pair
        path.write_text(json.dumps(line) + "\n")
        tiles.measured.cache_clear()

    write(256, "gather_once")
    assert backends.name_of(backends.load("auto", fake(HALF), 256)) == "gather_once"
    write(1024, "triton")
    assert backends.name_of(backends.load("auto", fake(HALF), 1024)) == "triton"
    write(1024, "cublas")
    with pytest.raises(ValueError, match="expected path triton or gather_once, received 'cublas'"):
        backends.load("auto", fake(HALF), 1024)


def test_only_calls_with_one_number_of_dynamic_neurons_have_even_blocks() -> None:
    def block(args: dict) -> int | None:
        return Problem(**args).even_block

    assert block(ffk_cases.make(70, 24, 50, 16, 13)) == 16
    assert block(ffk_cases.make(5, 24, 50, 16, 13)) == 5
    assert block(ffk_cases.make(70, 24, 50, 16, 0, hot=50)) is None
    assert block(ffk_cases.make_ragged([3, 4], 16, 24, 50)) is None
