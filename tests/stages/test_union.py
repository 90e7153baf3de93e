"""Union and mass by hand and against loops."""

import pytest
import torch

from ffbench.stages.union import agreement, top_mask


def test_by_hand() -> None:
    energy = torch.tensor([[4.0, 3.0, 1.0, 0.0], [0.0, 1.0, 4.0, 3.0], [4.0, 3.0, 0.0, 1.0]])
    alone = agreement(energy, 1, 2)
    assert alone.union == 0.5 and alone.mass == pytest.approx(7 / 8)
    pair = agreement(energy, 2, 2)
    assert pair.union == 1 and pair.mass == pytest.approx((5 + 4) / 16)
    with pytest.raises(ValueError, match="no whole block of 4"):
        agreement(energy, 4, 2)


@pytest.mark.parametrize(("tokens", "block", "kept"), [(37, 5, 3), (16, 16, 11), (9, 2, 1)])
def test_against_loops(tokens: int, block: int, kept: int) -> None:
    energy = torch.rand(tokens, 11, generator=torch.Generator().manual_seed(tokens))
    unions, masses = [], []
    for start in range(0, tokens - block + 1, block):
        rows = energy[start:start + block]
        unions.append(len({int(j) for row in rows for j in row.argsort(descending=True)[:kept]}) / 11)
        sums = rows.sum(0)
        masses.append(float(sums.sort(descending=True).values[:kept].sum() / sums.sum()))
    found = agreement(energy, block, kept)
    assert found.union == pytest.approx(sum(unions) / len(unions))
    assert found.mass == pytest.approx(sum(masses) / len(masses), rel=1e-5)


def test_the_mask_has_k_entries_a_row() -> None:
    assert top_mask(torch.rand(5, 9), 4).sum(1).tolist() == [4] * 5
