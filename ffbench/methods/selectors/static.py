"""One set for every block, from calibration text."""

from torch import Tensor

from ffbench.methods.selectors.registry import Scene, selector


@selector("static")
def static(scene: Scene) -> Tensor:
    """Mean residual energy over the calibration text (our design)."""
    return scene.layer.predictor.prior.expand(len(scene.blocks), -1)


@selector("static_wanda")
def static_wanda(scene: Scene) -> Tensor:
    """E a_j^2 |Wd_j|^2 on calibration text: Wanda's |W| |x| (arXiv 2306.11695) summed over a down
    column.

    The structured form is known as Wanda-sp from FLAP's comparison (arXiv 2312.11983). It knows no
    compensator.
    """
    second = scene.layer.extra["neuron_second"]
    return (second * scene.down_norms.square()).expand(len(scene.blocks), -1)


@selector("static_flap")
def static_flap(scene: Scene) -> Tensor:
    """Var(a_j) |Wd_j|^2 on calibration text: FLAP's fluctuation metric (arXiv 2312.11983), made for
    the bias repair.

    Scores are compared within a layer only; FLAP's standardisation over layers is a scheduler's
    matter here.
    """
    extra = scene.layer.extra
    variance = (extra["neuron_second"] - extra["neuron_mean"].square()).clamp_min(0)
    return (variance * scene.down_norms.square()).expand(len(scene.blocks), -1)
