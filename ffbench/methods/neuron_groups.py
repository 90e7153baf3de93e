"""Order a layer's neurons offline so that neighbours are wanted by the same blocks (our design;
free at run time).
"""

import torch
from torch import Tensor

FLOOR = 1e-6


def relative_logs(energy: Tensor) -> Tensor:
    """Log of block energies [n, f], floored at FLOOR of the layer's mean; float32."""
    energy = energy.float()
    return energy.clamp_min(FLOOR * energy.mean().clamp_min(1e-30)).log()


def principal_scores(columns: Tensor) -> Tensor:
    """First principal component's score [m] of each column of [n, m], the columns centred on their
    mean column.
    """
    centred = columns - columns.mean(1, keepdim=True)
    gram = centred @ centred.T  # [n, n]: there are fewer blocks than neurons
    return torch.linalg.eigh(gram).eigenvectors[:, -1] @ centred


def regroup(energy: Tensor, group: int) -> Tensor:
    """Order [f] that puts neurons of like energy over blocks into one group; energy [n, f], n
    blocks.

    Recursive balanced bisection: the neurons are halved (to whole groups) by the first principal
    component of their log-energies until a part is one group. Both a neuron's level and its ups and
    downs over blocks count. Raises ValueError if `group` does not divide f.
    """
    f = energy.shape[1]
    if group < 1 or f % group:
        raise ValueError(f"group: expected a divisor of {f}, received {group}")
    logs = relative_logs(energy)
    parts, done = [torch.arange(f)], []
    while parts:
        part = parts.pop()
        if len(part) <= group:
            done.append(part)
            continue
        ranked = part[principal_scores(logs[:, part]).argsort()]
        middle = len(part) // group // 2 * group
        parts += [ranked[middle:], ranked[:middle]]
    return torch.cat(done)
