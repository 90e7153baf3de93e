"""Where families keep a decoder layer's gated FFN and its matrices, and the parts of a mixture of
experts.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layout:
    """Names in a decoder layer: of the FFN module, and in it of the projections of gate, up and
    down, or of gate and up as one matrix [2f, d] (the gate's rows first) and down.
    """

    projections: tuple[str, ...]
    ffn: str = "mlp"

    def __post_init__(self) -> None:
        if len(self.projections) not in (2, 3):
            raise ValueError(
                f"layout {', '.join(self.projections)}: name gate, up and down, or gate_up and down"
            )

    @property
    def fused(self) -> bool:
        """Whether gate and up are one matrix."""
        return len(self.projections) == 2

    @property
    def name(self) -> str:
        """The layout in words."""
        return f"{self.ffn}: {', '.join(self.projections)}"


@dataclass(frozen=True)
class MixtureLayout:
    """Names of the modules that a layer's mixture of experts has: always the router `gate` and
    `experts`; with a shared expert, whose projections are those of PLAIN, that and whatever scales
    its output.
    """

    shared: str | None = None
    shared_gate: str | None = None

    @property
    def parts(self) -> set[str]:
        """All of them."""
        return {"gate", "experts"} | {name for name in (self.shared, self.shared_gate) if name}


PLAIN = Layout(("gate_proj", "up_proj", "down_proj"))
LAYOUTS = [PLAIN, Layout(("gate_up_proj", "down_proj"))]  # the second: Phi-3, Phi-4 and GLM

MIXTURES = [
    MixtureLayout(),
    MixtureLayout("shared_expert", "shared_expert_gate"),  # Qwen2-MoE
    MixtureLayout("shared_experts"),  # GLM-4.5
]


def add_layout(layout: Layout) -> Layout:
    """Let models with this layout run sparse; earlier layouts are tried first."""
    if layout not in LAYOUTS:
        LAYOUTS.append(layout)
    return layout


def layout_of(layer: Any) -> Layout:
    """The layout of a decoder layer: the first whose FFN has its first projection; PLAIN if none
    fits.
    """
    fitting = (one for one in LAYOUTS if hasattr(ffn_of(layer, one), one.projections[0]))
    return next(fitting, PLAIN)


def ffn_of(layer: Any, layout: Layout | None = None) -> Any:
    """A decoder layer's FFN module; None if it has none."""
    return getattr(layer, (layout or layout_of(layer)).ffn, None)


def mixture_layout(module: Any) -> MixtureLayout | None:
    """The layout of a layer's mixture of experts; None if it has other parts than any."""
    parts = {name for name, _ in module.named_children()}
    return next((one for one in MIXTURES if one.parts == parts), None)
