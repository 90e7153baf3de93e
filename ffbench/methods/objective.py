"""The loss that counts: what the tokens after the context see (DESIGN section 2.2; our design)."""

from dataclasses import asdict, dataclass

NAMES = ("continuation", "copy", "full")
COPY_LEAD = 16  # predictions of a copied passage before the model can know that it is one


@dataclass
class Objective:
    """Weights of three losses, each a KL to the dense model after or in a sparse context.

    continuation: at the tokens that follow the context in the text. copy: at a passage of the
    context that is repeated after it, which shows whether retrieval still works. full: at the
    context's own tokens, which only users of prompt log-probabilities read.
    """

    continuation: float = 0.5
    copy: float = 0.5
    full: float = 0.0

    def weights(self) -> dict[str, float]:
        """The weights that are not zero, by name."""
        return {name: weight for name, weight in asdict(self).items() if weight}

    def problems(self) -> list[str]:
        """Negative weights, or none above zero."""
        values = asdict(self)
        negative = [
            f"objective.{name}: {value} is negative; choose 0 or more"
            for name, value in values.items()
            if value < 0
        ]
        if negative or any(values.values()):
            return negative
        return ["objective: every weight is 0; give at least one of " + ", ".join(NAMES)]
