"""How good a choice of neurons is, on blocks that no form has seen."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.evaluation.selection import block_figures


@dataclass
class Exam:
    """Held-out blocks of one layer: inputs x [n, B, d], exact activations' rests `left` [n, B, f]
    beside the estimate, residual worth [n, f], dense outputs' energy [n], down matrix [d, f], and
    how many neurons are kept.
    """

    x: Tensor
    left: Tensor
    worth: Tensor
    dense: Tensor
    w_down: Tensor
    kept: int


def figures(exam: Exam, scores: Tensor) -> dict[str, float]:
    """recall_at_k and retained_energy against the residual oracle; output_error: |Wd
    left_skipped|^2 / |y|^2.

    Means over blocks; scores [n, f].
    """
    recall, retained = block_figures(scores, exam.worth, exam.kept)
    errors = []
    for left, row, dense in zip(exam.left, scores, exam.dense, strict=True):
        skipped = left.index_fill(1, row.topk(exam.kept).indices, 0)
        errors.append((skipped @ exam.w_down.T).square().sum() / dense)
    return {
        "recall_at_k": recall,
        "retained_energy": retained,
        "output_error": torch.stack(errors).mean().item(),
    }
