"""How long the texts are that a run reads."""

from ffbench.experiment.stages import RunStages
from ffbench.models.config_checks import UsedLength
from ffbench.settings import RunSettings
from ffbench.training.tails import COPY_TOKENS, window_length

QUESTION_TOKENS = 512  # more than any question and its answer have


def fidelity_length(settings: RunSettings) -> UsedLength:
    """The longest window that answers are judged on, or a longer question."""
    f = settings.fidelity
    context = max(f.contexts, default=0)
    if "question" in f.tails and f.tail + 1 < QUESTION_TOKENS:
        return UsedLength(context, QUESTION_TOKENS, f"up to {QUESTION_TOKENS} of a question")
    return UsedLength(context, f.tail + 1, f"a tail of {f.tail} + 1")


def training_length(settings: RunSettings) -> UsedLength | None:
    """The windows that schedules, metrics and tuning read; None if nothing reads them."""
    stages = RunStages(settings).plan_stages
    if not (stages.curvature or stages.sensitivity or stages.teacher):
        return None
    tokens = window_length()
    if stages.sensitivity or stages.teacher:
        tokens = max(tokens, 3 * settings.block_size + settings.first_dense)
    return UsedLength(tokens, COPY_TOKENS, f"{COPY_TOKENS} of a passage again")


def used_lengths(settings: RunSettings) -> dict[str, UsedLength]:
    """Setting -> the longest text that the model will read because of it."""
    s = settings
    lengths = {"task.max_length": UsedLength(s.task.max_length)} if s.task.tasks else {}
    if s.dense:
        return lengths
    lengths["calibration.window"] = UsedLength(s.calibration.window)
    if training := training_length(s):
        lengths["scheduler, objective.metric or compensator.tune_steps"] = training
    if s.fidelity.windows:
        lengths["fidelity.contexts"] = fidelity_length(s)
    if s.speed.rounds and s.speed.lengths:
        lengths["speed.lengths"] = UsedLength(max(s.speed.lengths))
    return lengths
