"""What the Triton compiler makes of the kernels for cards that need not be there."""

import itertools

import pytest

pytest.importorskip("triton")

from ffkernels import triton_ahead as ahead
from ffkernels import triton_tiles as tiles

INSTRUCTION = {80: "mma.sync", 86: "mma.sync", 90: "wgmma", 100: "tcgen05"}
VARIANTS = [
    ahead.Variant(kernel, arch, dtype, group, 128)
    for arch in tiles.SHARED_BYTES
    for kernel, dtype, group in (
        ("gate_up", "bf16", 0),
        ("gate_up", "bf16", 1),
        ("gate_up", "f16", 32),
        ("down", "bf16", 1),
        ("down", "f16", 16),
    )
]
SMALL_BLOCKS = [
    ahead.Variant("gate_up", 90, "bf16", 1, 32),
    ahead.Variant("down", 90, "bf16", 32, 16),
    ahead.Variant("down", 100, "bf16", 32, 16),
]


def check(variant: ahead.Variant, instruction: str) -> None:
    made = ahead.build(variant)
    assert made.matrix.get(instruction, 0) > 0, made
    assert made.spills == 0 and made.stack_bytes == 0, made
    assert 0 < made.shared_bytes <= tiles.SHARED_BYTES[variant.arch], made


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: f"{v.kernel}-sm{v.arch}-{v.dtype}-g{v.group}"
)
def test_matrix_instructions_and_no_spills(variant: ahead.Variant) -> None:
    check(variant, INSTRUCTION[variant.arch])


@pytest.mark.parametrize(
    "variant", SMALL_BLOCKS, ids=lambda v: f"{v.kernel}-sm{v.arch}-B{v.block_size}"
)
def test_blocks_too_short_for_the_newest_instructions(variant: ahead.Variant) -> None:
    check(variant, "mma.sync")


@pytest.mark.parametrize(
    ("kernel", "ones"),
    [
        ("gate_up", ("tokens", "count", "rank", "block_size", "tiles_per_block")),
        ("down", ("tokens", "hot", "count", "block_size", "tiles_per_block")),
    ],
)
def test_arguments_that_are_one_compile(kernel: str, ones: tuple[str, ...]) -> None:
    assert ahead.build(ahead.Variant(kernel, 90, "bf16", 1, 1), ones).registers > 0


def test_spills_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile that is too large for the registers of its warps must show in the figures."""
    monkeypatch.setattr(tiles, "gate_up_tile", lambda *_: tiles.Tile(128, 128, 32, 4, 2))
    made = ahead.build(ahead.Variant("gate_up", 80, "bf16", 1, 128))
    assert made.spills > 0 and made.stack_bytes > 0


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((8, 0), 80),
        ((8, 6), 86),
        ((8, 9), 86),
        ((9, 0), 90),
        ((10, 0), 100),
        ((10, 3), 100),
        ((12, 0), 86),
    ],
)
def test_architecture(capability: tuple[int, int], expected: int) -> None:
    assert tiles.architecture(capability) == expected


def test_old_cards_are_refused() -> None:
    with pytest.raises(ValueError, match=r"compute capability 8\.0 or newer, received 7\.5"):
        tiles.architecture((7, 5))


@pytest.mark.parametrize(
    ("block", "float32"), list(itertools.product((1, 16, 17, 64, 128, 500), (False, True)))
)
def test_padded_columns_of_gate_up_suffice_for_down(block: int, float32: bool) -> None:
    for arch in tiles.SHARED_BYTES:
        up, down = tiles.gate_up_tile(arch, float32, block), tiles.down_tile(arch, float32, block)
        assert up.n % down.k == 0 and up.m >= min(block, 16)
