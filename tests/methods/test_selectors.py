"""Every selector against an independent reference on small tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from ffbench.methods.compensators.surrogate import Surrogate, none_surrogate
from ffbench.methods.flops import flops_of
from ffbench.methods.low_rank import truncated_svd
from ffbench.methods.plan import LayerPlan, PlanSettings, SparsePlan
from ffbench.methods.selectors.predictor import Predictor
from ffbench.methods.selectors import SELECTORS, Scene, selector
from ffbench.methods.selectors.probe import probes_of
from ffbench.methods.selectors.svd_gate import rank_of

D, F = 11, 29
BLOCK_WISE = sorted(name for name, one in SELECTORS.items() if one.block_wise)


class World:
    """One layer with random weights, statistics and inputs."""

    def __init__(self, seed: int = 0, block: int = 13, count: int = 3, before: int = 13) -> None:
        g = torch.Generator().manual_seed(seed)
        self.gate, self.up, self.down = (
            torch.randn(*shape, generator=g) for shape in ((F, D), (F, D), (D, F))
        )
        surrogate = Surrogate(
            torch.randn(3, D, generator=g),
            torch.randn(F, 3, generator=g) * 0.2,
            torch.randn(F, generator=g),
        )
        predictor = Predictor(
            torch.randn(D, generator=g),
            torch.randn(F, D, generator=g),
            torch.rand(F, generator=g) + 0.1,
        )
        self.extra = {
            "neuron_mean": torch.randn(F, generator=g),
            "neuron_up_second": torch.rand(F, generator=g) + 0.5,
            "neuron_second": torch.rand(F, generator=g) + 9,
        }  # above mean^2
        self.layer = LayerPlan(15, 0, torch.arange(F), surrogate, predictor, None, self.extra)
        self.blocks = torch.randn(count, block, D, generator=g)
        self.before = torch.randn(before, D, generator=g)

    def activations(self, x: Tensor) -> Tensor:
        return silu(x @ self.gate.T) * (x @ self.up.T)

    @property
    def norms(self) -> Tensor:
        return self.down.norm(dim=0)

    def scores(self, name: str, order: Tensor | None = None) -> Tensor:
        """Scores of a selector, optionally with the neurons of the layer reordered."""
        rule = SELECTORS[name]
        if rule.prepare:
            self.layer.extra = self.extra | rule.prepare(self.gate, self.up, self.down)
        layer, norms, find = self.layer, self.norms, self.activations
        if order is not None:
            layer.order = order
            layer, norms, find = (
                layer.permuted(),
                norms[order],
                lambda x: self.activations(x)[:, order],
            )
        return rule(Scene(layer, self.before, self.blocks, find, silu, norms, 7))


def energy(world: World, x: Tensor) -> np.ndarray:
    """Residual energy of each token and neuron by plain loops over neurons."""
    a, s, found = world.activations(x), world.layer.surrogate, np.zeros((len(x), F))
    for j in range(F):
        estimate = s.c[j] + sum(s.v[j, k] * (x @ s.p[k]) for k in range(3))
        found[:, j] = ((a[:, j] - estimate) ** 2 * (world.down[:, j] ** 2).sum()).numpy()
    return found


def griffin(world: World, x: Tensor) -> np.ndarray:
    a = world.activations(x).numpy()
    return np.sqrt((np.array([row / np.sqrt((row**2).sum()) for row in a]) ** 2).sum(0))


def expected_oracle(w: World) -> np.ndarray:
    return np.stack([energy(w, x).mean(0) for x in w.blocks])


def expected_wanda(w: World) -> np.ndarray:
    return np.tile((w.extra["neuron_second"] * (w.down**2).sum(0)).numpy(), (3, 1))


def expected_flap(w: World) -> np.ndarray:
    variance = w.extra["neuron_second"] - w.extra["neuron_mean"] ** 2
    return np.tile((variance.clamp_min(0) * (w.down**2).sum(0)).numpy(), (3, 1))


def expected_weight_norm(w: World) -> np.ndarray:
    return np.tile(np.sqrt((w.gate**2).sum(1).numpy() * (w.up**2).sum(1).numpy()), (3, 1))


def expected_probe(w: World) -> np.ndarray:
    return np.stack(
        [(energy(w, x[6:7]).mean(0) + 8 * w.layer.predictor.prior.numpy()) / 9 for x in w.blocks]
    )


def expected_probe_norm(w: World) -> np.ndarray:
    rows = [x[(x**2).sum(1).argmax()][None] for x in w.blocks]
    return np.stack([(energy(w, x)[0] + 8 * w.layer.predictor.prior.numpy()) / 9 for x in rows])


def expected_trained(w: World) -> np.ndarray:
    q = w.layer.predictor
    return np.stack(
        [
            [
                q.prior[j] * np.exp(np.clip(float(q.weights[j] @ (x.mean(0) - q.mean)), -4, 4))
                for j in range(F)
            ]
            for x in w.blocks
        ]
    )


def expected_svd(w: World) -> np.ndarray:
    u, s, vt = np.linalg.svd(w.gate.double().numpy(), full_matrices=False)
    gate = (u[:, :1] * s[:1]) @ vt[:1]
    rows = [silu(x.double() @ torch.tensor(gate).T).square().mean(0).numpy() for x in w.blocks]
    return np.stack(rows) * (w.extra["neuron_up_second"] * (w.down**2).sum(0)).numpy()


EXPECTED: dict[str, Callable[[World], np.ndarray]] = {
    "oracle": expected_oracle,
    "static_wanda": expected_wanda,
    "static_flap": expected_flap,
    "weight_norm": expected_weight_norm,
    "probe": expected_probe,
    "probe_norm": expected_probe_norm,
    "trained": expected_trained,
    "svd_gate": expected_svd,
    "static": lambda w: np.tile(w.layer.predictor.prior.numpy(), (3, 1)),
    "first_block": lambda w: np.tile(griffin(w, w.before), (3, 1)),
    "previous_block": lambda w: np.stack(
        [griffin(w, x) for x in (w.before, w.blocks[0], w.blocks[1])]
    ),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_selector_is_its_rule(name: str) -> None:
    world = World()
    np.testing.assert_allclose(
        world.scores(name).numpy(), EXPECTED[name](world), rtol=2e-4, atol=1e-5
    )


def test_every_selector_has_a_reference() -> None:
    assert set(BLOCK_WISE) == set(EXPECTED) | {"random"}


def test_random_scores_differ_by_block_and_repeat_by_seed() -> None:
    first, second = World().scores("random"), World().scores("random")
    assert torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert first.min() >= 0 and first.max() < 1


@pytest.mark.parametrize("name", sorted(set(BLOCK_WISE) - {"random"}))
def test_scores_follow_the_order_of_the_neurons(name: str) -> None:
    order = torch.randperm(F, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        World().scores(name, order), World().scores(name)[:, order], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", BLOCK_WISE)
@pytest.mark.parametrize(
    ("block", "count", "before"), [(1, 1, 0), (5, 2, 0), (33, 1, 33), (128, 2, 7)]
)
def test_odd_sizes_give_finite_scores(name: str, block: int, count: int, before: int) -> None:
    scores = World(1, block, count, before).scores(name)
    assert scores.shape == (count, F) and torch.isfinite(scores).all()


def test_the_number_of_probes_grows_with_the_block() -> None:
    assert [probes_of(size) for size in (1, 16, 64, 128, 512)] == [1, 1, 2, 4, 16]


@pytest.mark.parametrize(("d", "f"), [(576, 1536), (896, 4864), (2048, 8192), (64, 160)])
def test_the_gates_rank_costs_at_most_three_percent(d: int, f: int) -> None:
    rank = rank_of(d, f)
    assert 2 * rank * (d + f) <= 0.03 * 6 * d * f < 2 * (rank + 1) * (d + f)


def flops_share(name: str, d: int = 576, f: int = 1536, block: int = 128) -> float:
    layer = LayerPlan(
        f // 2,
        0,
        torch.arange(f),
        none_surrogate(d, f),
        Predictor(torch.zeros(d), torch.zeros(f, d), torch.ones(f)),
    )
    plan = SparsePlan(PlanSettings(name, "none", "uniform", block, 0.5), {}, [layer, layer])
    return flops_of(plan)["selector"]


def test_costs_are_counted() -> None:
    assert {
        flops_share(name)
        for name in (
            "random",
            "weight_norm",
            "static",
            "static_wanda",
            "static_flap",
            "first_block",
        )
    } == {0}
    assert flops_share("oracle") == flops_share("previous_block") == pytest.approx(2 / 3)
    assert flops_share("probe") == flops_share("probe_norm") == pytest.approx(4 / 128 * 2 / 3)
    assert 0.02 < flops_share("svd_gate") <= 0.03 and flops_share("trained") < 0.003


@pytest.mark.parametrize("rank", [1, 4, 11])
def test_truncated_svd_is_the_best_of_its_rank(rank: int) -> None:
    weight = torch.randn(F, D, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    left, right = truncated_svd(weight, rank)
    assert torch.equal(torch.rand(1), expected)
    u, s, vt = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    np.testing.assert_allclose(
        (left @ right).numpy(), (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-4
    )
    with pytest.raises(ValueError, match=f"not in 1..{D}"):
        truncated_svd(weight, D + 1)


def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(scene: Scene) -> Any:
        return scene.blocks

    monkeypatch.setattr("ffbench.methods.selectors.registry.SELECTORS", dict(SELECTORS))
    selector("mine")(mine)
    with pytest.raises(ValueError, match="'mine' is registered twice"):
        selector("mine")(mine)
