"""What the Triton compiler makes of the kernels, for cards that this machine need not have."""

import itertools

import pytest

pytest.importorskip("triton")

from triton.compiler.errors import CompilationError

from ffkernels.triton import aot, aot_select, tiles

INSTRUCTION = {80: "mma.sync", 86: "mma.sync", 90: "wgmma", 100: "tcgen05"}
VARIANTS = [
    aot.Variant(kernel, arch, dtype, group, 128)
    for arch in tiles.SHARED_BYTES
    for kernel, dtype, group in (
        ("gate_up", "bfloat16", 0),
        ("gate_up", "bfloat16", 1),
        ("gate_up", "float16", 32),
        ("down", "bfloat16", 1),
        ("down", "float16", 16),
    )
]
RAGGED = [
    aot.Variant(kernel, arch, "bfloat16", 1, 128, ragged=True)
    for arch in tiles.SHARED_BYTES
    for kernel in ("gate_up", "down")
]
SMALL_BLOCKS = [
    aot.Variant("gate_up", 90, "bfloat16", 1, 32),
    aot.Variant("down", 90, "bfloat16", 32, 16),
    aot.Variant("down", 100, "bfloat16", 32, 16),
]


PAIRED = [
    aot.Variant("gate_up", arch, "bfloat16", group, 128, paired=True)
    for arch in aot.CARDS
    for group in (0, 1, 16)
]


def check(variant: aot.Variant, instruction: str) -> None:
    made = aot.build(variant)
    assert made.matrix.get(instruction, 0) > 0, made
    assert made.spills == 0 and made.stack_bytes == 0, made
    assert 0 < made.shared_bytes <= tiles.SHARED_BYTES[variant.known], made
    assert made.in_flight and min(made.in_flight) > 0, f"the pipeline is drained each step: {made}"


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: f"{v.kernel}-sm{v.arch}-{v.dtype}-g{v.group_size}"
)
def test_matrix_instructions_and_no_spills(variant: aot.Variant) -> None:
    check(variant, INSTRUCTION[variant.arch])


@pytest.mark.parametrize("variant", PAIRED, ids=lambda v: f"sm{v.arch}-g{v.group_size}")
def test_gate_and_up_in_one_product(variant: aot.Variant) -> None:
    check(variant, INSTRUCTION[variant.known])


@pytest.mark.parametrize("variant", RAGGED, ids=lambda v: f"{v.kernel}-sm{v.arch}")
def test_blocks_with_their_own_counts(variant: aot.Variant) -> None:
    check(variant, INSTRUCTION[variant.arch])


@pytest.mark.parametrize(
    "variant", SMALL_BLOCKS, ids=lambda v: f"{v.kernel}-sm{v.arch}-B{v.block_size}"
)
def test_blocks_too_short_for_the_newest_instructions(variant: aot.Variant) -> None:
    check(variant, "mma.sync")


@pytest.mark.parametrize(
    ("kernel", "ones"),
    [
        ("gate_up", ("count", "rank", "block_size", "tiles_per_block", "neuron_tiles")),
        ("down", ("hot", "count", "block_size", "tiles_per_block", "column_tiles")),
    ],
)
def test_arguments_that_are_one_compile(kernel: str, ones: tuple[str, ...]) -> None:
    assert aot.build(aot.Variant(kernel, 90, "bfloat16", 1, 1), ones).registers > 0


def test_spills_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile that is too large for the registers of its warps must show in the counts."""
    monkeypatch.setattr(tiles, "gate_up_tile", lambda *_: tiles.Tile(128, 128, 32, 4, 2))
    made = aot.build(aot.Variant("gate_up", 80, "bfloat16", 1, 128))
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


def test_an_unknown_activation_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aot.CODES, "swish", 9)
    with pytest.raises(CompilationError) as failure:
        aot.build(aot.Variant("gate_up", 90, "bfloat16", 1, 128, activation="swish"))
    assert "unknown activation code" in str(failure.value.__cause__)


def test_waits_are_counted_inside_loops_only() -> None:
    text = """
  scf.for %i {
    ttg.async_wait %a {num = 2 : i32}
    scf.for %j {
      ttg.async_wait %b {num = 0 : i32}
    }
  }
  ttg.async_wait {num = 0 : i32}
"""
    assert aot.loop_waits(text) == [2, 0]


@pytest.mark.parametrize("arch", list(tiles.SHARED_BYTES))
def test_the_choice_of_neurons_at_8b(arch: int) -> None:
    """Few spills outside of the loops are borne: one program per block runs for microseconds."""
    for group in (1, 16):
        made = aot_select.keep_largest(arch, 14336, group)
        assert made.spills <= 16 and made.shared_bytes <= 16384, made
        made = aot_select.keep_largest(arch, 14336, group, prior=False, ragged=True)
        assert made.spills <= 16, made
    assert aot_select.block_means(arch).spills == 0
