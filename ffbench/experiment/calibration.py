"""Tensors of token ids: text that plans are fitted on, and text that they are judged on."""

import logging
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from ffbench.data.embedded_text import KINDS, calibration_chunks
from ffbench.data.user_text import user_documents
from ffbench.data.windows import document_windows, joined_windows
from ffbench.settings import RunSettings
from ffbench.training.plan_stages import TrainingText

logger = logging.getLogger(__name__)


def judged_windows(
    tokenizer: Any, part: str, *, length: int, count: int
) -> dict[str, tuple[list[str], Tensor]]:
    """Document names and windows [n, length] int64 of each text kind, at most `count` of each.

    One window per document; see `ffbench.data.windows.document_windows`.
    """
    found = {}
    for kind in KINDS:
        units = document_windows(tokenizer, kind, part, length=length, count=count)
        found[kind] = ([name for name, _ in units], torch.tensor([ids for _, ids in units]))
    return found


def heldout_windows(tokenizer: Any, tokens: int, length: int) -> dict[str, Tensor]:
    """Held-out windows [n, length] int64 of each text kind, at most `tokens` tokens of each."""
    windows = judged_windows(tokenizer, "heldout", length=length, count=tokens // length)
    return {kind: batch for kind, (_, batch) in windows.items()}


def calibration_windows(tokenizer: Any, tokens: int, length: int) -> dict[str, Tensor]:
    """Embedded calibration windows [n, length] int64 of each text kind, at most `tokens` tokens of
    each.
    """
    return {
        kind: torch.tensor(
            joined_windows(tokenizer, calibration_chunks(kind).values(), tokens, length)
        )
        for kind in KINDS
    }


def user_windows(tokenizer: Any, folder: str, tokens: int, length: int) -> Tensor:
    """Windows [n, length] int64 of a folder's documents; warns if they hold fewer than `tokens`."""
    windows = joined_windows(tokenizer, user_documents(folder).values(), tokens, length)
    if len(windows) < tokens // length:
        logger.warning(
            "calibration.folder: the text fills %d windows of %d tokens, %d were asked for",
            len(windows),
            length,
            tokens // length,
        )
    return torch.tensor(windows)


def training_text(settings: RunSettings, tokenizer: Any) -> TrainingText:
    """The text that plans of `settings` are fitted on: embedded, or the user's own."""

    def per_text(tokens: int, length: int) -> list[Tensor]:
        folder = settings.calibration.folder
        if folder:
            return [user_windows(tokenizer, folder, 2 * tokens, length)]
        return list(calibration_windows(tokenizer, tokens, length).values())

    def in_turn(count: int, length: int) -> Tensor:
        rows = zip_longest(*per_text(-(-count // 2) * length, length))
        windows = [window for row in rows for window in row if window is not None]
        return torch.stack(windows[:count])

    c = settings.calibration
    return TrainingText(torch.cat(per_text(max(c.tokens // 2, c.window), c.window)), in_turn)
