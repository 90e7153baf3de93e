"""The search for tiles: candidates that fit, the fastest one chosen, and the file that is read back."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("triton")

from triton.runtime.errors import OutOfResources

from ffkernels.triton import aot, autotune, tiles


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tiles.VARIABLE, raising=False)
    tiles.measured.cache_clear()


@pytest.mark.parametrize("arch", list(tiles.SHARED_BYTES))
@pytest.mark.parametrize("block_size", [16, 64, 128, 512])
def test_candidates_fit_the_card_and_each_other(arch: int, block_size: int) -> None:
    shipped, *others = autotune.pairs(arch, False, block_size)
    assert shipped == (
        tiles.gate_up_tile(arch, False, block_size),
        tiles.down_tile(arch, False, block_size),
    )
    assert others and len(set(others)) == len(others) and shipped not in others
    for up, down in others:
        tiles.check_pair(up, down)
        assert autotune.shared_bytes(up, 2 * up.n, False) <= tiles.SHARED_BYTES[arch]
        assert autotune.shared_bytes(down, down.n, False) <= tiles.SHARED_BYTES[arch]


def test_the_estimate_is_what_the_compiler_uses() -> None:
    """sm_90, where a matrix instruction reads both factors from shared memory."""
    for kernel, factor in (("gate_up", 2), ("down", 1)):
        variant = aot.Variant(kernel, 90, "bfloat16", 1, 128)
        estimate = autotune.shared_bytes(variant.tile, factor * variant.tile.n, False)
        assert aot.build(variant).shared_bytes == estimate


def test_the_fastest_is_chosen_and_those_that_cannot_run_are_skipped() -> None:
    candidates = list(autotune.pairs(90, False, 128))

    def seconds(pair: autotune.Pair) -> float:
        if pair == candidates[2]:
            raise OutOfResources(2, 1, "shared memory")
        return 1.0 if pair == candidates[3] else 2.0

    assert autotune.fastest(iter(candidates), seconds) == (candidates[3], 1.0)
    assert autotune.fastest(iter(candidates), lambda pair: 1.0)[0] == candidates[0]


def write(path: Path, up: tiles.Tile, down: tiles.Tile) -> Path:
    line = {"arch": 90, "float32": False, "block_size": 128}
    path.write_text(json.dumps(line | {"gate_up": asdict(up), "down": asdict(down)}) + "\n")
    return path


def test_a_file_replaces_the_shipped_tiles_of_its_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up, down = tiles.Tile(128, 128, 64, 8, 3), tiles.Tile(128, 256, 64, 8, 3)
    monkeypatch.setenv(tiles.VARIABLE, str(write(tmp_path / "tiles.jsonl", up, down)))
    assert tiles.gate_up_tile(90, False, 128) == up and tiles.down_tile(90, False, 128) == down
    assert tiles.gate_up_tile(90, False, 256) == tiles.default_gate_up(90, False, 256)
    assert tiles.down_tile(80, False, 128) == tiles.default_down(80, False, 128)


def test_tiles_can_be_tried_for_a_while() -> None:
    up, down = tiles.Tile(16, 32, 32, 4, 2), tiles.Tile(16, 64, 32, 4, 2)
    before = tiles.gate_up_tile(90, False, 128)
    with tiles.trying(up, down):
        assert (tiles.gate_up_tile(90, False, 128), tiles.down_tile(80, True, 16)) == (up, down)
    assert tiles.gate_up_tile(90, False, 128) == before


def test_unusable_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiles.jsonl"
    monkeypatch.setenv(tiles.VARIABLE, str(path))
    with pytest.raises(ValueError, match="is not a file of tiles .FileNotFoundError"):
        tiles.gate_up_tile(90, False, 128)
    path.write_text('{"arch": 90}\n')
    with pytest.raises(ValueError, match="is not a file of tiles .KeyError"):
        tiles.gate_up_tile(90, False, 128)
    write(path, tiles.Tile(128, 64, 64, 8, 3), tiles.Tile(128, 128, 128, 8, 3))
    with pytest.raises(ValueError, match="multiple of k of the down tile, received 64 and 128"):
        tiles.gate_up_tile(90, False, 128)


def test_a_machine_without_a_card_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotune.torch.cuda, "is_available", lambda: False)
    assert autotune.main(["--output-dir", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: no CUDA card here")
    assert not (tmp_path / "out").exists()
