"""Windows of token ids: text that plans are fitted on, and held-out text that they are judged
on.
"""

import logging
from itertools import zip_longest
from typing import Any

from ffbench.data.embedded_text import KINDS, calibration_pieces, documents
from ffbench.data.user_text import own_documents
from ffbench.settings import RunSettings

logger = logging.getLogger(__name__)


def heldout_windows(tokenizer: Any, tokens: int, length: int) -> dict[str, Any]:
    """Held-out windows [n, length] of each text kind, `tokens` tokens a kind."""
    from ffbench.training.layer_walk import windows

    return {
        kind: windows(tokenizer, documents(kind, "heldout").values(), tokens, length)
        for kind in KINDS
    }


def calibration_windows(tokenizer: Any, tokens: int, length: int) -> dict[str, Any]:
    """Embedded calibration windows [n, length] of each text kind, at most `tokens` tokens a
    kind.
    """
    from ffbench.training.layer_walk import windows

    return {
        kind: windows(tokenizer, calibration_pieces(kind).values(), tokens, length)
        for kind in KINDS
    }


def own_windows(tokenizer: Any, folder: str, tokens: int, length: int) -> Any:
    """Windows [n, length] of a folder's documents; a warning where they hold less than `tokens`
    tokens.
    """
    from ffbench.training.layer_walk import windows

    found = windows(tokenizer, own_documents(folder).values(), tokens, length)
    if found.numel() < tokens // length * length:
        logger.warning(
            "calibration.folder: the text fills %d windows of %d tokens, %d were asked for",
            len(found),
            length,
            tokens // length,
        )
    return found


def training_text(settings: RunSettings, tokenizer: Any) -> Any:
    """The TrainingText that plans of `settings` are fitted on: embedded, or the user's own."""
    import torch

    from ffbench.training.plan_builder import TrainingText
    from ffbench.training.tuning.teacher import WINDOWS

    def windows(tokens: int, length: int) -> list[Any]:
        folder = settings.calibration.folder
        if folder:
            return [own_windows(tokenizer, folder, 2 * tokens, length)]
        return list(calibration_windows(tokenizer, tokens, length).values())

    def in_turn(length: int) -> Any:
        pairs = zip_longest(*windows(WINDOWS // 2 * length, length))
        return torch.stack([one for pair in pairs for one in pair if one is not None])

    c = settings.calibration
    return TrainingText(torch.cat(windows(max(c.tokens // 2, c.window), c.window)), in_turn)
