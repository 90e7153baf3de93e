"""Which tokens share a block."""

import pytest
import torch

from ffbench.methods import similar_blocks as blocks
from ffbench.methods.similar_blocks import assign, balanced_kmeans, order_flops, token_order


def clusters(counts: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Well separated clusters of the given sizes, shuffled: features [T, 3], and each token's
    cluster."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((count,), i) for i, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = 100 * torch.eye(max(3, len(counts)))[: len(counts)]
    return centres[labels] + torch.randn(len(labels), centres.shape[1], generator=generator), labels


def spread(features: torch.Tensor, order: torch.Tensor, size: int) -> float:
    """Mean squared distance of tokens to their block's mean."""
    parts = features[order].split(size)
    return sum((part - part.mean(0)).square().sum().item() for part in parts) / len(features)


@pytest.mark.parametrize("tokens", [1, 7, 8, 15, 16, 17, 40, 41, 47])
def test_every_token_has_one_place(tokens: int) -> None:
    features = torch.randn(tokens, 5, generator=torch.Generator().manual_seed(tokens))
    assert torch.equal(token_order(features, 8).sort().values, torch.arange(tokens))


def test_clusters_of_a_block_s_size_are_found() -> None:
    features, labels = clusters([16, 16, 16])
    order = balanced_kmeans(features, 16)
    assert all(len(part.unique()) == 1 for part in labels[order].split(16))
    assert all(
        bool((part.diff() > 0).all()) for part in order.split(16)
    )  # text order within a block


def test_a_short_last_block() -> None:
    features, labels = clusters([16, 16, 5], seed=3)
    order = balanced_kmeans(features, 16)
    assert torch.equal(order.sort().values, torch.arange(37))
    # the last cluster to be filled is not always the small one, so one block may mix; the others
    # are pure
    assert sum(len(part.unique()) == 1 for part in labels[order].split(16)) >= 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_blocks_are_tighter_than_those_of_the_text(seed: int) -> None:
    features = torch.randn(96, 6, generator=torch.Generator().manual_seed(seed))
    assert spread(features, balanced_kmeans(features, 16), 16) < 0.8 * spread(
        features, torch.arange(96), 16
    )


def test_features_that_are_not_finite_have_a_place_too() -> None:
    for value in (torch.inf, -torch.inf, torch.nan, 1e38):
        features = torch.randn(64, 4).abs() + 0.1
        features[5, 0] = value
        assert torch.equal(token_order(features, 16).sort().values, torch.arange(64))


def test_a_block_beyond_the_span_still_has_others_to_sort_with() -> None:
    features, labels = clusters([40, 40])
    assert blocks.span_of(4000) == 8000 and blocks.span_of(128) == blocks.SPAN
    assert all(len(part.unique()) == 1 for part in labels[balanced_kmeans(features, 40)].split(40))


def test_less_than_two_blocks_stay_as_they_are() -> None:
    features = torch.randn(31, 4)
    assert torch.equal(balanced_kmeans(features, 16), torch.arange(31))


def test_equal_tokens_stay_in_blocks() -> None:
    assert torch.equal(balanced_kmeans(torch.zeros(64, 3), 16).sort().values, torch.arange(64))


def test_a_long_prompt_is_ordered_in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SPAN", 50)
    features = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    order = token_order(features, 16)  # spans of 48, whole blocks
    assert [set(part.tolist()) for part in order.split(48)] == [
        set(range(48)),
        set(range(48, 96)),
        set(range(96, 120)),
    ]


def brute(distances: torch.Tensor, room: list[int]) -> float:
    """The least total distance of any assignment, by trying all."""
    from itertools import permutations

    places = [i for i, count in enumerate(room) for _ in range(count)]
    return min(
        sum(distances[t, c].item() for t, c in enumerate(one)) for one in set(permutations(places))
    )


def test_assignment_fills_the_rooms_near_the_best_total() -> None:
    for seed in range(10):
        distances = torch.rand(6, 3, generator=torch.Generator().manual_seed(seed))
        member = assign(distances.T, torch.tensor([2, 3, 1]))
        assert torch.bincount(member, minlength=3).tolist() == [2, 3, 1]
        total = distances.gather(1, member[:, None]).sum().item()
        assert (
            total <= distances.mean(1).sum().item() and total >= brute(distances, [2, 3, 1]) - 1e-6
        )


def test_those_with_most_to_lose_come_first() -> None:
    distances = torch.tensor([[1.0, 1.0, 1.0, 9.0], [2.0, 5.0, 3.0, 0.0]])
    assert assign(distances, torch.tensor([2, 2])).tolist() == [1, 0, 0, 1]


def test_rooms_that_do_not_hold_the_tokens() -> None:
    with pytest.raises(ValueError, match="rooms for 5 tokens, received 6"):
        assign(torch.rand(2, 6), torch.tensor([3, 2]))


def test_cost_grows_with_the_prompt_up_to_a_span() -> None:
    assert order_flops(2048, 128, 64) == order_flops(2048, 128, 16) == 2 * 16 * 16 * 4
    assert order_flops(10**6, 128, 64) == order_flops(blocks.SPAN, 128, 64)
