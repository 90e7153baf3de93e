"""Sharing a layer's neurons out over blocks: budgets, tiles, and the greedy choice itself."""

import pytest
import torch

from ffbench.methods.block_counts import (
    RULES,
    block_counts,
    neurons_shared,
    whole_tiles,
    winners,
)


def counts_of(scores: torch.Tensor, total: int, rule: str, tile: int) -> list[int]:
    return block_counts(scores, total, rule, tile).tolist()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("blocks", "f", "tile"), [(1, 40, 8), (3, 160, 32), (15, 96, 16), (7, 50, 1)]
)
@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_budget_is_met_to_within_one_tile(
    rule: str, blocks: int, f: int, tile: int, density: float
) -> None:
    scores = torch.rand(blocks, f, generator=torch.Generator().manual_seed(f)).pow(4)
    total = round(blocks * f * density)
    counts = counts_of(scores, total, rule, tile)
    assert all(count % tile == 0 and 0 <= count <= f for count in counts)
    assert sum(counts) == neurons_shared(blocks, f, total, rule, tile)
    assert total - tile < sum(counts) <= total or sum(counts) == blocks * (f // tile) * tile


def test_single_tiles_are_the_greedy_choice() -> None:
    scores = torch.tensor([[8.0, 7.0, 6.0, 5.0], [9.0, 1.0, 0.0, 0.0], [100.0, 50.0, 25.0, 24.0]])
    assert counts_of(scores, 6, "energy", 1) == [1, 1, 4]
    assert counts_of(scores, 6, "mass", 1) == [3, 1, 2]


def test_a_flat_block_gets_more_by_mass_and_a_strong_one_by_energy() -> None:
    flat, peaked = torch.ones(64), torch.linspace(0, 1, 64).pow(8) * 1000
    mass, energy = (
        counts_of(torch.stack([flat, peaked]), 64, rule, 8) for rule in ("mass", "energy")
    )
    assert mass[0] > mass[1] and energy[1] > energy[0]


def test_whole_blocks_keep_everything_or_nothing_but_the_one_at_the_edge() -> None:
    energy = torch.tensor([2.0, 9.0, 1.0, 5.0])
    scores = energy[:, None] * torch.rand(4, 64, generator=torch.Generator().manual_seed(1)) + 1
    assert counts_of(scores, 2 * 64 + 20, "whole", 16) == [16, 64, 0, 64]
    assert counts_of(torch.ones(3, 64), 64, "whole", 16) == [64, 0, 0]


def test_equal_blocks_get_equal_shares_and_everything_is_everything() -> None:
    row = torch.rand(64)
    assert counts_of(row.expand(4, -1), 4 * 32, "mass", 32) == [32] * 4
    assert counts_of(torch.rand(3, 50), 150, "energy", 32) == [50] * 3


@pytest.mark.parametrize(
    ("total", "rule", "text"),
    [(5, "fair", "'fair' is unknown"), (9, "mass", "9 is not in 0..8"), (-1, "mass", "-1")],
)
def test_refusals(total: int, rule: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        block_counts(torch.rand(2, 4), total, rule)


def handed_out(won: list[int], tiles: int, limit: int, tile: int) -> list[int]:
    """The definition of `whole_tiles`, one tile after another."""
    given = [number // tile for number in won]
    order = sorted(range(len(won)), key=lambda i: won[i] % tile, reverse=True)
    left = tiles - sum(given)
    while left and (open_ones := [i for i in order if given[i] < limit]):
        for i in open_ones[:left]:
            given[i] += 1
        left -= min(left, len(open_ones))
    return given


@pytest.mark.parametrize("seed", range(40))
def test_tiles_are_handed_out_by_the_largest_remainders(seed: int) -> None:
    """Also if blocks that are full leave their remainders to a few others, for several rounds."""
    generator = torch.Generator().manual_seed(seed)
    f, tile = [(50, 16), (31, 16), (64, 16), (33, 32)][seed % 4]
    won = torch.randint(0, f + 1, (12,), generator=generator)
    won[: seed % 11] = f
    tiles = int(won.sum()) // tile
    expected = handed_out(won.tolist(), tiles, f // tile, tile)
    assert whole_tiles(won, tiles, f // tile, tile).tolist() == expected


@pytest.mark.parametrize("total", [0, 1, 17, 199, 200])
def test_winners_are_those_of_a_full_sort(total: int) -> None:
    values = torch.randint(0, 6, (5, 40), generator=torch.Generator().manual_seed(3)).float()
    order = values.flatten().argsort(descending=True, stable=True)[:total]
    expected = torch.bincount(order // 40, minlength=5)
    assert torch.equal(winners(values, total), expected)
