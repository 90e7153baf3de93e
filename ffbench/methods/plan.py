"""The sparse plan: everything that is needed to run sparse prefill on one model."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators import Compensator, CompensatorState
from ffbench.methods.places import Place
from ffbench.methods.registry import Method
from ffbench.methods.schedulers import Scheduler
from ffbench.methods.selectors import Selector
from ffbench.methods.selectors.predictor import Predictor
from ffbench.methods.similar_blocks import BLOCKS, CONSECUTIVE
from ffbench.methods.tensors import AxisTensors, size_problems
from ffbench.methods.token_rules import TokenRule

# the last tokens hold the question, and the first ones the attention sinks
DENSE_TOKENS = 128


class PlanError(ValueError):
    """A plan folder cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """Settings of a plan.

    sparsity: share of the neurons skipped in sparse blocks, in [0, 1). block_size: tokens per
    block. hot_fraction: share of the kept neurons that are the same for every block. group_size:
    neurons are kept in whole groups of that many neighbours of a layer's order. blocks: which
    tokens share a block (`methods.similar_blocks`). first_dense, last_dense: tokens at the ends of
    a prompt that run dense, whatever the block size.
    """

    selector: Selector | TokenRule
    compensator: Compensator
    scheduler: Scheduler
    block_size: int
    sparsity: float
    hot_fraction: float = 0.0
    group_size: int = 1
    blocks: str = CONSECUTIVE
    first_dense: int = DENSE_TOKENS
    last_dense: int = DENSE_TOKENS
    seed: int = 0

    def problems(self) -> list[str]:
        """One sentence per value that no plan can have, as in a file that was damaged."""
        counts = ("block_size", "group_size", "first_dense", "last_dense", "seed")
        problems = [
            f"{name} is {getattr(self, name)!r}, not a whole number of at least {least}"
            for name, least in zip(counts, (1, 1, 0, 0, 0), strict=True)
            if type(getattr(self, name)) is not int or getattr(self, name) < least
        ]
        problems += [
            f"{name} is {getattr(self, name)!r}, not a number from 0 to 1"
            for name in ("sparsity", "hot_fraction")
            if type(getattr(self, name)) not in (int, float) or not 0 <= getattr(self, name) <= 1
        ]
        return problems + ([] if self.blocks in BLOCKS else [f"blocks is {self.blocks!r}"])

    def methods(self) -> dict[str, Method]:
        """The methods by kind."""
        return {kind: getattr(self, kind) for kind in METHODS}

    def as_dict(self) -> dict[str, Any]:
        """Plain values; each method as a mapping of its name and parameters."""
        plain = {name: value for name, value in vars(self).items() if name not in METHODS}
        methods = self.methods().items()
        return {kind: {"name": m.name, **m.parameters()} for kind, m in methods} | plain

    def method_fields(self) -> dict[str, Any]:
        """The methods as results and benchmark lines have them: a name by kind, and `parameters`
        by kind.
        """
        names = {kind: method.name for kind, method in self.methods().items()}
        parameters = {kind: method.parameters() for kind, method in self.methods().items()}
        return names | {"parameters": parameters}


METHODS = ("selector", "compensator", "scheduler")


def block_problem(settings: PlanSettings) -> str | None:
    """Why the settings' blocks of reordered tokens cannot be had, or None."""
    if settings.blocks == CONSECUTIVE:
        return None
    if not settings.compensator.has_features:
        return (
            f"{settings.blocks} tokens are found by the compensator's features, which compensator "
            f"{settings.compensator.name!r} does not have; choose {CONSECUTIVE}, or "
            "compensator=surrogate"
        )
    if isinstance(settings.selector, Selector) and settings.selector.needs_text_order:
        return (
            f"selector {settings.selector.name!r} needs blocks in the order of the text; choose "
            f"{CONSECUTIVE}"
        )
    return None


@dataclass
class LayerPlan:
    """One layer: `kept` neurons per block, of which the first `hot` after `order` [f] are always
    kept.

    compensation: the compensator's tensors. predictor: expected residual energy of each neuron.
    statistics: what calibration text says about the layer (`methods.statistics`).
    selector_tensors: what the selector made from the weights.
    """

    kept: int
    hot: int
    order: Tensor
    compensation: CompensatorState
    predictor: Predictor
    statistics: AxisTensors = field(default_factory=AxisTensors)
    selector_tensors: AxisTensors = field(default_factory=AxisTensors)

    @property
    def whole(self) -> bool:
        """Whether every neuron is kept: blocks run dense, with neither selector nor compensator."""
        return self.kept == len(self.order)

    def permuted(self) -> "LayerPlan":
        """The same layer with every neuron axis in the order [hot..., dynamic...]."""
        order = self.order
        return replace(
            self,
            order=torch.arange(len(order), device=order.device),
            compensation=self.compensation.permuted(order),
            predictor=self.predictor.permuted(order),
            statistics=self.statistics.permuted(order),
            selector_tensors=self.selector_tensors.permuted(order),
        )

    def on(self, device: torch.device) -> "LayerPlan":
        """The same layer with the tensors that selectors read on a device."""
        moved = {n: t.to(device) for n, t in self.compensation.tensors().items()}
        return replace(
            self,
            order=self.order.to(device),
            compensation=type(self.compensation).from_tensors(moved),
            predictor=self.predictor.to(device),
            statistics=self.statistics.to(device),
            selector_tensors=self.selector_tensors.to(device),
        )

    def parts(self) -> dict[str, tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]]:
        """Tensors and their axes by part: order, compensator, predictor, statistics, selector."""
        return {
            "compensator": (self.compensation.tensors(), self.compensation.all_axes()),
            "predictor": (self.predictor.tensors(), dict(self.predictor.axes)),
            "statistics": (self.statistics.values, self.statistics.axes),
            "selector": (self.selector_tensors.values, self.selector_tensors.axes),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the layer as PART.NAME, and the order."""
        named = {
            f"{part}.{name}": value
            for part, (values, _) in self.parts().items()
            for name, value in values.items()
        }
        return {"order": self.order} | named

    def problem(self) -> str | None:
        """What does not fit together in a layer that was read from files, or None."""
        if self.order.dim() != 1 or self.order.dtype != torch.int64:
            return (
                f"`order` is {self.order.dtype} of shape {tuple(self.order.shape)}, not int64 [f]"
            )
        f = len(self.order)
        if not torch.equal(self.order.sort().values, torch.arange(f, device=self.order.device)):
            return f"`order` is not a permutation of 0..{f - 1}"
        if not 0 <= self.hot <= self.kept <= f:
            return f"kept {self.kept} and hot {self.hot} do not fit {f} neurons"
        sizes = {"neuron": f, "input": len(self.predictor.mean), "output": len(self.predictor.mean)}
        wrong = [
            f"{part}.{problem}"
            for part, (values, axes) in self.parts().items()
            for problem in size_problems(values, axes, sizes)
        ]
        wrong += [
            f"{part}.{name} is {value.dtype}, not of floats"
            for part in ("compensator", "predictor")
            for name, value in self.parts()[part][0].items()
            if not value.is_floating_point()
        ]
        wrong += [
            f"{name} holds values that are not numbers"
            for name, value in self.tensors().items()
            if value.is_floating_point() and bool(value.isnan().any())
        ]
        return "; ".join(wrong) or None


@dataclass
class SparsePlan:
    """Settings, model fingerprint and one LayerPlan per FFN with its place in the model: by default
    one per decoder layer; a layer with experts has several.

    Prompts below `min_tokens` run dense (0: none). `python -m ffbench speed plan=FOLDER` measures
    from which length on the plan pays off, and writes it there. `fingerprint` has the hash of the
    weights as `model`, and the model's `name`. `card` holds facts for a reader (`plan_card`):
    model, calibration text, objective, KL, speed, versions.
    """

    settings: PlanSettings
    fingerprint: dict[str, str]
    layers: list[LayerPlan]
    min_tokens: int = 0
    card: dict[str, Any] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.places:
            self.places = [Place(layer) for layer in range(len(self.layers))]

    @property
    def mixture(self) -> bool:
        """Whether the model has routed experts."""
        return any(place.expert is not None for place in self.places)

    def save(self, folder: str | Path) -> None:
        """Write plan.json, plan.safetensors and a README.md with the card into `folder`."""
        from ffbench.methods.plan_files import save_plan

        save_plan(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, fingerprint: dict[str, str] | None = None) -> "SparsePlan":
        """Read a plan folder.

        Raises PlanError if a file is missing or malformed, the format is unknown, or `fingerprint`
        is given and does not match the model that the plan was made for.
        """
        from ffbench.methods.plan_files import load_plan

        return load_plan(Path(folder), fingerprint)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> "SparsePlan":
        """Read a plan folder, or the plan of a hub repository; `options` are huggingface_hub's:
        revision, token, cache_dir, force_download, local_files_only.

        Raises PlanError as `load` does, and if the repository cannot be fetched.
        """
        if Path(name).is_dir():
            return cls.load(name)
        from ffbench.methods.plan_hub import plan_from_hub

        return plan_from_hub(str(name), **options)

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Upload the plan with its card to the hub repository `name`, which is made if it is
        missing; returns the commit's address. `options` are huggingface_hub's: private, token,
        branch, create_pr, commit_message. Raises PlanError.
        """
        from ffbench.methods.plan_hub import plan_to_hub

        return plan_to_hub(self, name, **options)


def untimed(settings: PlanSettings) -> str | None:
    """Why a plan's speed means nothing, or None if it can be measured."""
    if isinstance(settings.selector, Selector):
        return None
    return (
        f"selector {settings.selector.name} works token by token; it is computed dense, for "
        "accuracy only"
    )
