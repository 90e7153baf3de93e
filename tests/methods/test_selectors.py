"""Every selector against an independent reference on small tensors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_plans import node, plan_settings
from torch import Tensor
from torch.nn.functional import silu

from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.flops import flops_of
from ffbench.methods.linalg import truncated_svd
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.registry import Registry
from ffbench.methods.selectors import SELECTORS, Selector, SelectorInputs
from ffbench.methods.selectors.predictor import Predictor
from ffbench.methods.selectors.probe import Probe
from ffbench.methods.selectors.svd_gate import SvdGate
from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import AxisTensors

D, F = 11, 29
NAMES = sorted(SELECTORS)


def made(choice: Any) -> Selector:
    return SELECTORS.make(node(choice))


class World:
    """One layer with random weights, statistics and inputs."""

    def __init__(self, seed: int = 0, block: int = 13, count: int = 3, before: int = 13) -> None:
        g = torch.Generator().manual_seed(seed)
        self.gate, self.up, self.down = (
            torch.randn(*shape, generator=g) for shape in ((F, D), (F, D), (D, F))
        )
        state = AffineState(
            projection=torch.randn(3, D, generator=g),
            activation_map=torch.randn(F, 3, generator=g) * 0.2,
            mean=torch.randn(F, generator=g),
        )
        predictor = Predictor(
            torch.randn(D, generator=g),
            torch.randn(F, D, generator=g),
            torch.rand(F, generator=g) + 0.1,
        )
        self.statistics = {
            "mean": torch.randn(F, generator=g),
            "up_second": torch.rand(F, generator=g) + 0.5,
            "second": torch.rand(F, generator=g) + 9,
        }  # above mean^2
        axes = {name: STATISTIC_AXES[name] for name in self.statistics}
        statistics = AxisTensors(self.statistics, axes)
        self.layer = LayerPlan(15, 0, torch.arange(F), state, predictor, statistics)
        self.blocks = torch.randn(count, block, D, generator=g)
        self.before = torch.randn(before, D, generator=g)

    def activations(self, x: Tensor) -> Tensor:
        return silu(x @ self.gate.T) * (x @ self.up.T)

    @property
    def norms(self) -> Tensor:
        return self.down.norm(dim=0)

    def scores(self, choice: Any, order: Tensor | None = None) -> Tensor:
        """Scores of a selector, optionally with the neurons of the layer reordered."""
        rule = made(choice)
        tensors = rule.prepare(self.gate, self.up, self.down)
        layer = replace(self.layer, selector_tensors=AxisTensors(tensors, dict(rule.tensor_axes)))
        norms, activations = self.norms, self.activations
        if order is not None:
            layer = replace(layer, order=order).permuted()
            norms, activations = norms[order], lambda x: self.activations(x)[:, order]
        inputs = SelectorInputs(layer, self.before, self.blocks, activations, silu, norms, 7)
        return rule.scores(inputs)


def energy(world: World, x: Tensor) -> np.ndarray:
    """Residual energy of each token and neuron by plain loops over neurons."""
    a, s, energies = world.activations(x), world.layer.compensation, np.zeros((len(x), F))
    assert isinstance(s, AffineState)
    for j in range(F):
        estimate = s.mean[j] + sum(s.activation_map[j, k] * (x @ s.projection[k]) for k in range(3))
        energies[:, j] = ((a[:, j] - estimate) ** 2 * (world.down[:, j] ** 2).sum()).numpy()
    return energies


def griffin(world: World, x: Tensor) -> np.ndarray:
    a = world.activations(x).numpy()
    return np.sqrt((np.array([row / np.sqrt((row**2).sum()) for row in a]) ** 2).sum(0))


def expected_oracle(w: World) -> np.ndarray:
    return np.stack([energy(w, x).mean(0) for x in w.blocks])


def expected_wanda(w: World) -> np.ndarray:
    return np.tile((w.statistics["second"] * (w.down**2).sum(0)).numpy(), (3, 1))


def expected_flap(w: World) -> np.ndarray:
    variance = w.statistics["second"] - w.statistics["mean"] ** 2
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
    return np.stack(rows) * (w.statistics["up_second"] * (w.down**2).sum(0)).numpy()


EXPECTED: dict[str, tuple[Any, Callable[[World], np.ndarray]]] = {
    "oracle": ("oracle", expected_oracle),
    "static_wanda": ({"name": "static", "statistic": "wanda"}, expected_wanda),
    "static_flap": ({"name": "static", "statistic": "flap"}, expected_flap),
    "weight_norm": ("weight_norm", expected_weight_norm),
    "probe": ("probe", expected_probe),
    "probe_norm": ({"name": "probe", "choice": "norm"}, expected_probe_norm),
    "trained": ("trained", expected_trained),
    # the layer's predictor is the plan's business; the rule reads whatever map it has
    "trained_lowrank": ({"name": "trained_lowrank", "rank": 4}, expected_trained),
    "svd_gate": ("svd_gate", expected_svd),
    "static": ("static", lambda w: np.tile(w.layer.predictor.prior.numpy(), (3, 1))),
    "griffin": ("griffin", lambda w: np.tile(griffin(w, w.before), (3, 1))),
    "griffin_previous": (
        {"name": "griffin", "block": "previous"},
        lambda w: np.stack([griffin(w, x) for x in (w.before, w.blocks[0], w.blocks[1])]),
    ),
}


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_a_selector_is_its_rule(case: str) -> None:
    world, (choice, expected) = World(), EXPECTED[case]
    np.testing.assert_allclose(world.scores(choice).numpy(), expected(world), rtol=2e-4, atol=1e-5)


def test_every_selector_has_a_reference() -> None:
    assert set(NAMES) == {node(choice)["name"] for choice, _ in EXPECTED.values()} | {"random"}


def test_probes_are_evenly_spaced_and_the_prior_counts_as_tokens() -> None:
    world = World(block=12)
    choice = {"name": "probe", "share": 0.25, "prior_tokens": 2.0}
    prior = world.layer.predictor.prior.numpy()
    expected = [(energy(world, x[[2, 6, 10]]).sum(0) + 2 * prior) / 5 for x in world.blocks]
    np.testing.assert_allclose(
        world.scores(choice).numpy(), np.stack(expected), rtol=2e-4, atol=1e-5
    )


def test_random_scores_differ_by_block_and_repeat_by_seed() -> None:
    first, second = World().scores("random"), World().scores("random")
    assert torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert first.min() >= 0 and first.max() < 1


@pytest.mark.parametrize("name", [c for c, _ in EXPECTED.values()])
def test_scores_follow_the_order_of_the_neurons(name: str) -> None:
    order = torch.randperm(F, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        World().scores(name, order), World().scores(name)[:, order], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("block", "count", "before"), [(1, 1, 0), (5, 2, 0), (33, 1, 33), (128, 2, 7)]
)
def test_odd_sizes_give_finite_scores(name: str, block: int, count: int, before: int) -> None:
    scores = World(1, block, count, before).scores(name)
    assert scores.shape == (count, F) and torch.isfinite(scores).all()


def test_the_number_of_probes_grows_with_the_block() -> None:
    assert [Probe().probes(size) for size in (1, 16, 64, 128, 512)] == [1, 1, 2, 4, 16]


@pytest.mark.parametrize(("d", "f"), [(576, 1536), (896, 4864), (2048, 8192), (64, 160)])
def test_the_gates_rank_costs_at_most_three_percent(d: int, f: int) -> None:
    rank = SvdGate().rank(d, f)
    assert 2 * rank * (d + f) <= 0.03 * 6 * d * f < 2 * (rank + 1) * (d + f)


def flops_share(choice: Any, d: int = 576, f: int = 1536, block: int = 128) -> float:
    layer = LayerPlan(
        f // 2,
        0,
        torch.arange(f),
        AffineState.zeros(d, f),
        Predictor(torch.zeros(d), torch.zeros(f, d), torch.ones(f)),
    )
    settings = plan_settings(selector=choice, block_size=block)
    return flops_of(SparsePlan(settings, {}, [layer, layer])).selector


def test_costs_are_counted() -> None:
    free = ("random", "weight_norm", "static", "griffin")
    assert {flops_share(name) for name in free} == {0}
    previous = flops_share({"name": "griffin", "block": "previous"})
    assert flops_share("oracle") == previous == pytest.approx(2 / 3)
    norm = flops_share({"name": "probe", "choice": "norm"})
    assert flops_share("probe") == norm == pytest.approx(4 / 128 * 2 / 3)
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


def test_a_name_is_registered_once() -> None:
    registry: Registry[Selector] = Registry("selector")
    registry.add(Probe)
    with pytest.raises(ValueError, match="selector 'probe' is registered twice"):
        registry.add(Probe)
    with pytest.raises(ValueError, match="a selector is a dataclass with a `name`"):
        registry.add(object)  # type: ignore[type-var]
