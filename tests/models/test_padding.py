"""Padding of prompts counts nowhere; masks that do not tell it are refused."""

from typing import Any

import pytest
import torch
from tiny_plans import DENSE_FAMILIES, prompt, random_tiny_plan, tiny_model

from ffbench.models.prefill_state import as_slice
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture(scope="module", params=DENSE_FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_counts_nowhere(model: Any, side: str) -> None:
    plan, long, short = (
        random_tiny_plan(model, compensator="surrogate"),
        prompt(75, 1),
        prompt(52, 2),
    )
    filler = torch.zeros(1, 23, dtype=torch.long)
    row = torch.cat([filler, short] if side == "left" else [short, filler], 1)
    mask = torch.ones(2, 75, dtype=torch.long)
    keep = slice(23, None) if side == "left" else slice(None, 52)
    mask[1] = 0
    mask[1, keep] = 1
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    with sparse_prefill(model, plan, "torch"):
        batch = model(torch.cat([long, row]), attention_mask=mask, position_ids=positions).logits
        alone = [model(ids).logits[0] for ids in (long, short)]
    torch.testing.assert_close(batch[0], alone[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(batch[1, keep], alone[1], atol=2e-5, rtol=1e-4)


def test_padding_between_tokens_counts_nowhere(model: Any) -> None:
    plan, ids = random_tiny_plan(model, compensator="surrogate"), prompt(60)
    mask = torch.ones(1, 67, dtype=torch.long)
    mask[0, 30:37] = 0
    row = torch.zeros(1, 67, dtype=torch.long)
    row[mask.bool()] = ids[0]
    with sparse_prefill(model, plan, "torch"):
        logits = model(
            row, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0)
        ).logits
        alone = model(ids).logits
    torch.testing.assert_close(logits[mask.bool()], alone[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("mask", "received"),
    [(torch.ones(1, 1, 60, 60), r"\(1, 1, 60, 60\)"), ({"full_attention": None}, "dict")],
    ids=["four axes", "by kind of layer"],
)
def test_masks_in_which_padding_cannot_be_told_are_refused(
    model: Any, mask: Any, received: str
) -> None:
    with (
        sparse_prefill(model, random_tiny_plan(model), "torch"),
        pytest.raises(ValueError, match=rf"attention_mask: expected .* received {received}; gen"),
    ):
        model(prompt(60), attention_mask=mask)


def test_positions_become_a_slice_where_they_are_neighbours() -> None:
    assert as_slice(torch.tensor([2, 3, 4])) == slice(2, 5) and as_slice(
        torch.tensor([], dtype=torch.long)
    ) == slice(0, 0)
    assert torch.equal(as_slice(torch.tensor([1, 3])), torch.tensor([1, 3]))
