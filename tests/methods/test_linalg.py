"""Leading directions of wide layers against the full decomposition."""

import pytest
import torch

from ffbench.methods import linalg

D, M, RANK = 160, 300, 8


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_subspace_iteration_finds_the_leading_directions(
    power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energies fall as i^-2p. What is left of a direction outside after 8 rounds is at most
    (value 25 / value 8)^17: 4e-9 for p = 1 and 6e-5 for p = 1/2; energies have its square."""
    g = torch.Generator().manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(n, D, generator=g).double()).Q for n in (D, M))
    values = torch.arange(1, D + 1, dtype=torch.float64) ** -power
    cross, factor = u * values @ v.T, torch.eye(D, dtype=torch.float64)
    found = []
    for wide in (D, D - 1):
        monkeypatch.setattr(linalg, "WIDE", wide)
        state = torch.get_rng_state()
        projection, left, half = linalg.leading_directions(factor, cross, RANK)
        assert torch.equal(torch.get_rng_state(), state) and projection.shape == (RANK, D)
        torch.testing.assert_close(left.T @ left, torch.eye(RANK, dtype=torch.float64))
        found.append((left.T @ half).square().sum(1))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[0], values[:RANK].square(), rtol=1e-9, atol=0)


def test_narrow_layers_are_decomposed_fully(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "svd_lowrank", None)
    factor = torch.eye(576, dtype=torch.float64)
    cross = torch.randn(576, 64, generator=torch.Generator().manual_seed(0)).double()
    assert linalg.leading_directions(factor, cross, 4)[0].shape == (4, 576)
