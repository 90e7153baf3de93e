"""Every stage's version and what it makes; docs/result-schema.md is printed from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffbench.runs.stage import Stage


@dataclass(frozen=True)
class Declaration:
    """A stage as the docs show it: its version and what it makes. Raise the version whenever the
    code behind the stage gives other results.
    """

    version: int
    makes: str
    stored: bool = True
    resumable: bool = False


DECLARATIONS: dict[str, Declaration] = {
    "model": Declaration(1, "identity of the weights and their dtype", stored=False),
    "text": Declaration(1, "identity of the calibration text", stored=False),
    "prompts": Declaration(4, "identity of the scored prompts", stored=False),
    "fit": Declaration(4, "closed-form compensator, predictor and statistics of every layer"),
    "refit": Declaration(1, "the closed form once the kept neurons are known"),
    "neuron_order": Declaration(1, "order of each layer's neurons into groups"),
    "token_mixing": Declaration(1, "attention mass that each layer moves between tokens"),
    "sensitivity": Declaration(3, "loss with one layer sparse at a time"),
    "curvature": Declaration(3, "Fisher information of the answers for each neuron"),
    "output_map": Declaration(4, "low-rank maps of the output, fitted to the plan's residual"),
    "teacher": Declaration(2, "dense hidden states that tuning learns from"),
    "tune": Declaration(4, "compensator and predictor tuned through the model", resumable=True),
    "plan": Declaration(1, "the sparse plan", stored=False),
    "answers": Declaration(1, "dense answers to the scored prompts", resumable=True),
    "dense_tails": Declaration(2, "dense hidden states of the fidelity windows"),
    "speed": Declaration(2, "times of dense and sparse prefill on one machine"),
    "wide_speed": Declaration(2, "times at a published wide shape with random weights"),
    "run": Declaration(4, "result.json", stored=False),
}


def declared(name: str, parameters: Mapping[str, Any], *inputs: Stage | None) -> Stage:
    """The stage `name` with its declared version; inputs that a run does not need are None."""
    d = DECLARATIONS[name]
    return Stage(
        name,
        d.version,
        parameters,
        tuple(stage for stage in inputs if stage is not None),
        d.resumable,
        d.stored,
    )
