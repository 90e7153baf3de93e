"""The loss that counts: what the tokens after the context see (DESIGN section 2.2; our design)."""

from dataclasses import dataclass

from ffbench.methods.registry import one_of

NAMES = ("continuation", "copy", "full")
METRICS = ("auto", "answer", "output")
COPY_LEAD = 16  # predictions of a copied passage before the model can know that it is one


@dataclass
class Objective:
    """Weights of three losses, each a KL to the dense model after or in a sparse context.

    continuation: at the tokens that follow the context in the text. copy: at a passage of the
    context that is repeated after it, which shows whether retrieval still works. full: at the
    context's own tokens, which only users of prompt log-probabilities read. metric: how errors of
    an FFN's output count if neurons are chosen and output maps are fitted: `output`, by their size;
    `answer`, by the Fisher information of these losses; `auto`, `answer` if the scheduler measures
    it anyway. windows: texts, each a context with its tails, that this information is read from.
    """

    continuation: float = 0.5
    copy: float = 0.5
    full: float = 0.0
    metric: str = "auto"
    windows: int = 16

    def weights(self) -> dict[str, float]:
        """The weights that are not zero, by name."""
        return {name: getattr(self, name) for name in NAMES if getattr(self, name)}

    def problems(self) -> list[str]:
        """An unknown metric, no window, negative weights, or none above zero."""
        values = {name: getattr(self, name) for name in NAMES}
        negative = [
            f"objective.{name}: {value} is negative; choose 0 or more"
            for name, value in values.items()
            if value < 0
        ]
        unknown = [f"objective.{text}" for text in one_of("metric", self.metric, METRICS)]
        if self.windows < 1:
            unknown.append(f"objective.windows: {self.windows} is too small; choose 1 or more")
        if negative or any(values.values()):
            return [*negative, *unknown]
        return [*unknown, "objective: every weight is 0; give at least one of " + ", ".join(NAMES)]
