"""Where in a model the FFNs of a plan are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where an FFN is, and how much of the text it sees.

    layer: number of its decoder layer. expert: its number among the layer's routed experts; None if
    every token passes it. shared: whether it stands beside routed experts. share: of all tokens
    that reach it, if the router treats its experts alike. Raises ValueError for other values.
    """

    layer: int
    expert: int | None = None
    shared: bool = False
    share: float = 1.0

    def __post_init__(self) -> None:
        numbers = [self.layer, 0 if self.expert is None else self.expert]
        counts = all(type(number) is int and number >= 0 for number in numbers)
        one_kind = type(self.shared) is bool and not (self.shared and self.expert is not None)
        if not (counts and one_kind and 0 < self.share <= 1):
            raise ValueError(f"no FFN can be at {self}")

    @property
    def kind(self) -> str:
        """What the FFN is in a model with routed experts."""
        if self.shared:
            return "shared expert"
        return "dense layer" if self.expert is None else "expert"

    def text(self, digits: int = 1) -> str:
        """The FFN in messages and tables; numbers have `digits` digits."""
        layer = f"layer {self.layer:{digits}}"
        if self.shared:
            return f"{layer}, shared expert"
        return layer if self.expert is None else f"{layer}, expert {self.expert:{digits}}"
