"""How long the texts are that a run reads."""

from ffbench.settings import RunSettings


def used_lengths(settings: RunSettings) -> dict[str, int]:
    """Setting -> tokens of the longest text that the model will read because of it."""
    s = settings
    lengths = {"task.max_length": s.task.max_length} if s.task.tasks else {}
    if s.sparsity:
        lengths["calibration.window"] = s.calibration.window
        if s.fidelity.windows:
            # a question's own tokens come on top; 512 is more than any of them has
            extra = max(s.fidelity.tail + 1, 512)
            lengths["fidelity.contexts"] = max(s.fidelity.contexts, default=0) + extra
        if s.speed.rounds and s.speed.lengths:
            lengths["speed.lengths"] = max(s.speed.lengths)
    return lengths
