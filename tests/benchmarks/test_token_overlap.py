"""Union and mass by hand and against loops."""

import pytest
import torch
from token_overlap import mass_share, top_mask, union_share


def test_by_hand() -> None:
    energy = torch.tensor([[4.0, 3.0, 1.0, 0.0], [0.0, 1.0, 4.0, 3.0], [4.0, 3.0, 0.0, 1.0]])
    chosen = top_mask(energy, 2)
    assert union_share(chosen, 1) == 0.5 and mass_share(energy, 1, 2) == pytest.approx(7 / 8)
    assert union_share(chosen, 2) == 1 and mass_share(energy, 2, 2) == pytest.approx((5 + 4) / 16)
    with pytest.raises(ValueError, match="no whole block of 4"):
        union_share(chosen, 4)


@pytest.mark.parametrize(("tokens", "block", "kept"), [(37, 5, 3), (16, 16, 11), (9, 2, 1)])
def test_against_loops(tokens: int, block: int, kept: int) -> None:
    energy = torch.rand(tokens, 11, generator=torch.Generator().manual_seed(tokens))
    unions, masses = [], []
    for start in range(0, tokens - block + 1, block):
        rows = energy[start : start + block]
        unions.append(
            len({int(j) for row in rows for j in row.argsort(descending=True)[:kept]}) / 11
        )
        sums = rows.sum(0)
        masses.append(float(sums.sort(descending=True).values[:kept].sum() / sums.sum()))
    assert union_share(top_mask(energy, kept), block) == pytest.approx(sum(unions) / len(unions))
    assert mass_share(energy, block, kept) == pytest.approx(sum(masses) / len(masses), rel=1e-5)


def test_the_mask_has_k_entries_a_row() -> None:
    assert top_mask(torch.rand(5, 9), 4).sum(1).tolist() == [4] * 5
