"""Variants of the predictor: their scores by hand, what they learn from, and that they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from variants.data import CHUNK, Examples, worth_of
from variants.metrics import HeldOutBlocks, choice_metrics
from variants.predictor import HEADS, LOSSES, POOLINGS, TARGETS, BlockPredictor, Variant
from variants.training import kept_share, loss_of, prior_of, train_variant

D, F = 6, 10


def test_worths_against_loops() -> None:
    g = torch.Generator().manual_seed(0)
    a, left, down = (torch.randn(*shape, generator=g) for shape in ((4, F), (4, F), (D, F)))
    worths = worth_of(a, left, down)
    for t in range(4):
        error = down @ left[t]
        for j in range(F):
            share = left[t, j] * down[:, j]
            assert worths["residual"][t, j] == pytest.approx(float(share @ share), rel=1e-4)
            gain = float(error @ error - (error - share) @ (error - share))
            assert worths["output"][t, j] == pytest.approx(gain, rel=1e-3, abs=1e-4)
            assert worths["griffin"][t, j] == pytest.approx(
                float(a[t, j] ** 2 / (a[t] @ a[t])), rel=1e-4
            )


def block_scores(predictor: BlockPredictor, block: np.ndarray) -> np.ndarray:
    """Log-scores of one block [B, d] by the variant's definition."""
    p = {name: one.double().numpy() for name, one in predictor.state_dict().items()}
    x = (block - p["mean"]) / p["scale"]

    def head(row: np.ndarray) -> np.ndarray:
        if "head.weight" in p:
            return p["head.weight"] @ row
        first = p["head.0.weight"] @ row + p.get("head.0.bias", 0)
        last = next(name for name in ("head.2.weight", "head.1.weight") if name in p)
        return p[last] @ (
            first / (1 + np.exp(-first)) if predictor.variant.head == "mlp" else first
        )

    def features(row: np.ndarray) -> np.ndarray:
        return head((row - p["centre"]) / p["spread"])

    pooling = predictor.variant.pooling
    if pooling == "token":
        return p["offset"] + np.log(
            np.mean([np.exp(np.clip(head(row), -4, 4)) for row in x], axis=0)
        )
    if pooling == "attention":
        parts = []
        for query in p["queries"]:
            weights = np.exp(x @ query - (x @ query).max())
            parts.append((weights / weights.sum()) @ x)
        return p["offset"] + features(np.concatenate(parts))
    return p["offset"] + features(x.mean(0) if pooling == "mean" else x.max(0))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_scores_are_the_definition(pooling: str, head: str) -> None:
    torch.manual_seed(0)
    predictor = BlockPredictor(
        Variant(pooling, head, width=3), torch.randn(D), torch.rand(D) + 0.5, torch.randn(F)
    )
    for one in predictor.parameters():
        torch.nn.init.normal_(one)
    blocks = torch.randn(3, 7, D)
    predictor.standardise(torch.randn(20, 7, D))
    assert pooling == "token" or predictor.centre.abs().max() > 0
    expected = np.stack([block_scores(predictor, block) for block in blocks.double().numpy()])
    np.testing.assert_allclose(predictor(blocks).detach().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_an_untrained_variant_with_a_prior_is_the_prior() -> None:
    prior = torch.randn(F)
    for pooling in POOLINGS:
        predictor = BlockPredictor(Variant(pooling), torch.zeros(D), torch.ones(D), prior)
        torch.testing.assert_close(predictor(torch.randn(2, 5, D)).detach(), prior.expand(2, F))
    alone = BlockPredictor(Variant(prior=False), torch.zeros(D), torch.ones(D), prior)(
        torch.randn(1, 5, D)
    )
    assert (alone == alone[0, 0]).all()


def made(seed: int, windows: int = 4, tokens: int = 256) -> Examples:
    """Worth that rises with one input a neuron."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(windows, tokens, D, generator=g) + torch.randn(
        windows, tokens // 32, D, generator=g
    ).repeat_interleave(32, 1)
    worth = torch.ones(windows, tokens, F)
    worth[..., :D] = x.exp()
    chunks = worth.view(windows, -1, CHUNK, F).sum(2)
    return Examples(x, dict.fromkeys(TARGETS, chunks))


@pytest.mark.parametrize(
    "variant",
    [
        Variant(),
        Variant(loss="bce"),
        Variant(loss="listwise"),
        Variant("max"),
        Variant("attention", "mlp", width=16),
        Variant("token", "low_rank", width=6),
    ],
    ids=lambda variant: variant.name,
)
def test_variants_learn_what_the_prior_cannot_know(variant: Variant) -> None:
    learning, held = made(0, 8), made(2)
    predictor = train_variant(variant, learning, made(1), 32, 5, 100)
    x, worth = held.blocks(32, held.starts(32, 32), "residual")
    static = prior_of(learning, "residual").expand(len(x), -1)
    assert kept_share(predictor(x), worth, 5) > kept_share(static, worth, 5) + 0.02
    assert not any(one.requires_grad for one in predictor.parameters())


def test_training_repeats_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (
        train_variant(Variant("attention"), made(0), made(1), 32, 5, 5) for _ in range(2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_blocks_are_their_tokens() -> None:
    data = made(3)
    x, worth = data.blocks(16, torch.tensor([[1, 2]]), "residual")
    torch.testing.assert_close(x[0], data.x[1, 16:32])
    torch.testing.assert_close(worth[0], data.worth["residual"][1, 2:4].sum(0) / 16)
    assert data.starts(64, 32)[:3].tolist() == [[0, 0], [0, 4], [0, 8]]
    with pytest.raises(ValueError, match="multiple of 8"):
        data.blocks(12, torch.tensor([[0, 0]]), "residual")


def test_losses_by_hand() -> None:
    scores, worth = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[4.0, 1.0, 1.0]])
    assert loss_of(Variant(), worth.log(), worth, 1).item() == pytest.approx(0, abs=1e-6)
    p = np.exp([2.0, 1, 0]) / np.exp([2.0, 1, 0]).sum()
    assert loss_of(Variant(loss="listwise"), scores, worth, 1).item() == pytest.approx(
        -(np.array([4, 1, 1]) / 6 * np.log(p)).sum(), rel=1e-5
    )
    logits = np.array([1.0, 0, -1])
    bce = np.mean(
        [np.log1p(np.exp(-logits[0])), np.log1p(np.exp(logits[1])), np.log1p(np.exp(logits[2]))]
    )
    assert loss_of(Variant(loss="bce"), scores, worth, 1).item() == pytest.approx(bce, rel=1e-5)


def test_costs_by_hand() -> None:
    def cost(variant: Variant) -> float:
        return BlockPredictor(variant, torch.zeros(D), torch.ones(D), torch.zeros(F)).flops(32)

    assert (
        cost(Variant()) == 2 * D * F + D * 32
        and cost(Variant(head="low_rank", width=3)) == 6 * (D + F) + D * 32
    )
    assert cost(Variant("token")) == 32 * (2 * D * F + F)
    assert cost(Variant("attention")) == 2 * 4 * D * F + 16 * D * 32


def test_metrics_by_hand() -> None:
    left: Tensor = torch.tensor([[[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]]])
    blocks = HeldOutBlocks(
        torch.zeros(1, 2, D),
        left,
        torch.tensor([[1.0, 2.0, 4.5]]),
        torch.tensor([20.0]),
        torch.eye(3),
        2,
    )
    best = choice_metrics(blocks, blocks.worth)
    assert best["recall_at_k"] == best["retained_energy"] == 1 and best[
        "output_error"
    ] == pytest.approx(2 / 20)
    other = choice_metrics(blocks, torch.tensor([[3.0, 2.0, 1.0]]))
    assert other["recall_at_k"] == 0.5 and other["retained_energy"] == pytest.approx(3 / 6.5)
    assert other["output_error"] == pytest.approx(9 / 20)


@pytest.mark.parametrize("name", ["pooling", "head", "target", "loss"])
def test_unknown_settings_are_refused(name: str) -> None:
    valid = {"pooling": POOLINGS, "head": HEADS, "target": TARGETS, "loss": LOSSES}[name]
    with pytest.raises(ValueError, match=f"{name}: 'x' is unknown; valid: {', '.join(valid)}"):
        replace(Variant(), **{name: "x"})
