"""Methods of one's own, refusals that name every problem, and no method's name outside its file."""

import ast
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import prompt, tiny_model
from tiny_stages import FolderCache, built_plan

from ffbench.methods.chosen import make_selector, selector_defaults
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.registry import MethodError
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.selectors import SELECTORS
from ffbench.methods.token_rules import TOKEN_RULES
from ffbench.models.sparse_prefill import sparse_prefill

ROOT = Path(__file__).parents[2]
HEAD = """
from dataclasses import dataclass
from typing import ClassVar
import torch
"""
FILES = {
    "own_selector": """
from ffbench.methods.selectors.base import Selector, selector

@selector
@dataclass(frozen=True)
class Last(Selector):
    name: ClassVar[str] = "own_selector"
    power: float = 2.0

    def scores(self, inputs):
        return inputs.activations(inputs.blocks[:, -1]).abs() ** self.power
""",
    "own_rule": """
from ffbench.methods.token_rules.base import TokenRule, token_rule

@token_rule
@dataclass(frozen=True)
class Half(TokenRule):
    name: ClassVar[str] = "own_rule"

    def hidden(self, inputs):
        a = inputs.act(inputs.x @ inputs.w_gate.T) * (inputs.x @ inputs.w_up.T)
        a[:, ::2] = 0
        return a, 0.5
""",
    "own_compensator": """
from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.base import Compensator, compensator

@compensator
@dataclass(frozen=True)
class Constant(Compensator):
    name: ClassVar[str] = "own_compensator"
    state_type: ClassVar[type] = AffineState
    closed_form: ClassVar[tuple] = ("value",)
    value: float = 0.25

    def fit(self, inputs):
        d, f = inputs.moments.xa.shape
        return AffineState(
            projection=torch.zeros(0, d), activation_map=torch.zeros(f, 0),
            mean=torch.full((f,), self.value),
        )

    def random_state(self, d, f, draw):
        return AffineState.zeros(d, f)
""",
    "own_scheduler": """
from ffbench.methods.schedulers.base import Scheduler, scheduler
from ffbench.methods.schedulers.budget import allot

@scheduler
@dataclass(frozen=True)
class Rising(Scheduler):
    name: ClassVar[str] = "own_scheduler"
    slope: float = 1.0

    def kept(self, layers):
        shares = [1 + self.slope * i for i in range(layers.layers)]
        return allot(shares, layers.f, layers.total)
""",
}
REGISTRIES = {
    "own_selector": SELECTORS,
    "own_rule": TOKEN_RULES,
    "own_compensator": COMPENSATORS,
    "own_scheduler": SCHEDULERS,
}


@pytest.mark.parametrize("name", FILES)
def test_a_method_of_ones_own_is_one_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}_module.py").write_text(HEAD + FILES[name])
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = REGISTRIES[name]
    try:
        import_module(f"{name}_module")
        group = "selector" if name == "own_rule" else registry.group
        model = tiny_model()
        changes: dict[str, Any] = {"compensator": "none", group: name}
        plan = built_plan(model, FolderCache(tmp_path / "stages"), **changes)
        plan.save(tmp_path / "plan")
        again = type(plan).load(tmp_path / "plan")
        assert again.settings == plan.settings
        with sparse_prefill(model, again, "torch") as prefill:
            logits = model(prompt(70)).logits
        assert torch.isfinite(logits).all() and prefill.density < 1
        if name == "own_scheduler":
            assert plan.layers[1].kept > plan.layers[0].kept
    finally:
        registry.classes.pop(name, None)
        sys.modules.pop(f"{name}_module", None)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(MethodError) as raised:
        COMPENSATORS.make({"name": "surrogate", "rank": "many", "tune_step": 3, "warp": 1})
    assert len(raised.value.problems) == 3
    text = str(raised.value)
    assert "compensator.rank: 'many' is not a value of type int" in text
    assert "compensator.warp: compensator 'surrogate' has no such parameter; it has rank" in text
    with pytest.raises(MethodError) as raised:
        COMPENSATORS.make({"name": "surrogate", "rank": 0, "tune_steps": -1})
    assert raised.value.problems == [
        "compensator.rank: 0 is too small; choose 1 or more",
        "compensator.tune_steps: -1 is too small; choose 0 or more",
    ]


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"name": "trainde"}, "selector: 'trainde' is unknown; did you mean 'trained'"),
        ({"name": "probe", "share": True}, "selector.share: True is not a value of type float"),
        ({"name": "probe", "share": 2}, "selector.share: 2.0 is not in"),
        ({"name": "griffin", "block": "last"}, "selector.block: 'last' is unknown"),
        ({"name": "rsparse_inputs", "rank": 1.5}, "selector.rank: 1.5 is not a value of type int"),
        ({}, "selector: 'None' is unknown"),
    ],
)
def test_refusals(node: dict[str, Any], text: str) -> None:
    with pytest.raises(MethodError, match=text):
        make_selector(node)


ALLOWED = {"methods/plan_format3.py", "runs/legacy.py"}


def compared_names(path: Path) -> set[str]:
    """Every string that a file compares something with, or looks up in a literal collection."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Compare, ast.MatchValue)):
            parts = ast.walk(node)
            names |= {
                part.value
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
    return names


def test_no_other_file_knows_a_method_by_name() -> None:
    methods = {*selector_defaults(), *COMPENSATORS, *SCHEDULERS} - {"none"}
    # stages are called so too, and these words mean other things elsewhere
    measurements = {"token_mixing", "sensitivity", "curvature"}
    measurements |= {"random", "uniform", "bias", "static"}
    files = [*ROOT.glob("ffbench/**/*.py"), *ROOT.glob("analysis/ffanalysis/**/*.py")]
    assert len(files) > 100
    guilty = {
        str(path.relative_to(ROOT)): named
        for path in files
        if not any(str(path).endswith(allowed) for allowed in ALLOWED)
        if path.stem not in methods
        if (named := compared_names(path) & (methods - measurements))
    }
    assert guilty == {}
