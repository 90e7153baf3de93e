"""How good a choice of neurons is, on blocks that no variant was trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.evaluation.selection import block_metrics


@dataclass
class HeldOutBlocks:
    """Held-out blocks of one layer.

    x [n, B, d]: inputs. residual [n, B, f]: exact activations less their estimates. worth [n, f]:
    mean residual energy. dense [n]: energy of the dense outputs. w_down [d, f]. kept: neurons per
    block.
    """

    x: Tensor
    residual: Tensor
    worth: Tensor
    dense: Tensor
    w_down: Tensor
    kept: int


def choice_metrics(blocks: HeldOutBlocks, scores: Tensor) -> dict[str, float]:
    """recall_at_k and retained_energy against the residual oracle; output_error: |Wd r|^2 / |y|^2
    with r the residual of the skipped neurons.

    Means over blocks; scores [n, f].
    """
    recall, retained = block_metrics(scores, blocks.worth, blocks.kept)
    errors = []
    for residual, row, dense in zip(blocks.residual, scores, blocks.dense, strict=True):
        skipped = residual.index_fill(1, row.topk(blocks.kept).indices, 0)
        errors.append((skipped @ blocks.w_down.T).square().sum() / dense)
    return {
        "recall_at_k": recall,
        "retained_energy": retained,
        "output_error": torch.stack(errors).mean().item(),
    }
