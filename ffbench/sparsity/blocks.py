"""Which tokens share a block: neighbours in the text, or tokens that are alike (our design)."""

import torch
from torch import Tensor

CONSECUTIVE, SIMILAR = "consecutive", "similar"
BLOCKS = (CONSECUTIVE, SIMILAR)
ROUNDS = 4
SPAN = 4096


def assign(distances: Tensor, room: Tensor) -> Tensor:
    """A cluster for each of T tokens, int64 [T], so that cluster i gets room[i] of them; distances [T, n], room [n].

    Each round every token without a cluster asks for the nearest one that has room; a cluster that is asked by too
    many takes those with most to lose, by the distance to their second choice. At most n rounds. Raises ValueError
    where the rooms do not add up to T.
    """
    tokens, clusters = distances.shape
    if int(room.sum()) != tokens:
        raise ValueError(f"assign: rooms for {int(room.sum())} tokens, received {tokens}")
    distances, room = distances.clone(), room.clone()
    found = torch.full((tokens,), -1, device=distances.device)
    waiting = torch.arange(tokens, device=distances.device)
    while len(waiting):
        near = distances.topk(min(2, clusters), 1, largest=False)
        loss = near.values[:, -1] - near.values[:, 0]
        turn = loss.argsort(descending=True, stable=True)
        turn = turn[near.indices[turn, 0].argsort(stable=True)]
        wanted = near.indices[turn, 0]
        asked = torch.bincount(wanted, minlength=clusters)
        place = torch.arange(len(turn), device=turn.device) - (asked.cumsum(0) - asked)[wanted]
        taken = place < room[wanted]
        found[waiting[turn[taken]]] = wanted[taken]
        room -= torch.bincount(wanted[taken], minlength=clusters)
        rest = turn[~taken].sort().values
        waiting, distances = waiting[rest], distances[rest]
        distances[:, room == 0] = torch.inf
    return found


def distances_to(centres: Tensor, features: Tensor) -> Tensor:
    """Squared distances [T, n] of features [T, q] to centres [n, q], less each token's own square."""
    return centres.square().sum(1) - 2 * features @ centres.T


def alike(features: Tensor, size: int) -> Tensor:
    """Order of T tokens, int64 [T], in which each `size` in turn are alike; features [T, q].

    Balanced k-means: ROUNDS rounds of Lloyd's algorithm from evenly spaced tokens, the last of them and the result
    with clusters of `size` tokens (the last one may be shorter). Nothing is random. Within a block tokens stay in the
    order of the text. Fewer than two whole blocks stay as they are.
    """
    tokens = len(features)
    if tokens < 2 * size:
        return torch.arange(tokens, device=features.device)
    features, clusters = features.float(), -(-tokens // size)
    room = torch.full((clusters,), size, device=features.device)
    room[-1] = tokens - (clusters - 1) * size
    centres = features[torch.linspace(0, tokens - 1, clusters, device=features.device).long()]
    for step in range(ROUNDS):
        away = distances_to(centres, features)
        member = away.argmin(1) if step < ROUNDS - 1 else assign(away, room)
        count = torch.bincount(member, minlength=clusters)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, member, features)
        centres = torch.where(count > 0, sums / count.clamp_min(1), centres)
    return assign(distances_to(centres, features), room).argsort(stable=True)


def token_order(features: Tensor, size: int) -> Tensor:
    """`alike` within each SPAN of tokens (whole blocks), which bounds the cost for a long prompt; features [T, q]."""
    span = max(SPAN // size, 1) * size
    return torch.cat([alike(part, size) + start * span for start, part in enumerate(features.split(span))])


def order_flops(tokens: int, size: int, width: int) -> float:
    """FLOPs a token of `token_order` for a prompt of `tokens` tokens: distances of each round to every centre."""
    clusters = min(tokens, SPAN) / size
    return 2.0 * width * clusters * (ROUNDS + 1)
