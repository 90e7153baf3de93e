"""The paper's claims, drawn as dotted lines and labelled as claims: nothing here was measured."""

from matplotlib.axes import Axes

from ffanalysis.plots.style import CLAIM

SPEEDUP, LOSS = 1.45, 0.06
TEXT = (
    "Paper's claims (1.45x; under 6% LongBench loss at 50%, up to 8B) are claims, "
    "not measured here."
)


def loss(axes: Axes, text: str = "claim: 6%") -> None:
    """The paper's loss, of an axis in percent."""
    across(axes, 100 * LOSS, text)


def across(axes: Axes, height: float, text: str) -> None:
    """A claim of the paper as a dotted horizontal line, labelled outside the panel, where no point
    can be.
    """
    axes.axhline(height, color=CLAIM, linestyle=":", linewidth=1.2, zorder=0.5)
    place, offset = (1.0, height), (3, 0)
    axes.annotate(
        text,
        place,
        xycoords=("axes fraction", "data"),
        xytext=offset,
        textcoords="offset points",
        fontsize=8,
        color=CLAIM,
        va="center",
        annotation_clip=False,
    )


def up(axes: Axes, place: float, text: str) -> None:
    """A claim of the paper as a dotted vertical line, labelled above the panel."""
    axes.axvline(place, color=CLAIM, linestyle=":", linewidth=1.2, zorder=0.5)
    axes.annotate(
        text,
        (place, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=8,
        color=CLAIM,
        ha="center",
        annotation_clip=False,
    )
