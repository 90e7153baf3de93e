"""Which tokens share a block: neighbours in the text, or tokens that are alike (our design)."""

import torch
from torch import Tensor

CONSECUTIVE, SIMILAR, SORTED = "consecutive", "similar", "sorted"
BLOCKS = (CONSECUTIVE, SIMILAR, SORTED)
FEATURES = 16  # that the surrogate has first
ROUNDS = 3  # of Lloyd's algorithm
EVERY = 2  # tokens that Lloyd's algorithm looks at: every second one
SPAN = 4096  # tokens of a long prompt that are sorted together
FAR = 1e30  # in place of distances that are not finite


def assign(distances: Tensor, room: Tensor) -> Tensor:
    """A cluster for each of T tokens, int64 [T], so that cluster i gets room[i] of them; distances
    [n, T], room [n].

    Each round every token without a cluster asks for the nearest one that has room; a cluster that
    is asked by too many takes those with most to lose, by the distance to their second choice. At
    most n rounds. Raises ValueError if the rooms do not add up to T.
    """
    clusters, tokens = distances.shape
    if int(room.sum()) != tokens:
        raise ValueError(f"assign: rooms for {int(room.sum())} tokens, received {tokens}")
    distances, room = distances.nan_to_num(FAR, FAR, -FAR), room.clone()
    found = torch.full((tokens,), -1, device=distances.device)
    waiting = torch.arange(tokens, device=distances.device)
    while len(waiting):
        distances[room == 0] = torch.inf
        turn, wanted = assignment_priority(distances)
        asked = torch.bincount(wanted, minlength=clusters)
        place = torch.arange(len(turn), device=turn.device) - (asked.cumsum(0) - asked)[wanted]
        taken = place < room[wanted]
        found[waiting[turn[taken]]] = wanted[taken]
        room -= torch.minimum(asked, room)
        rest = turn[~taken]
        waiting, distances = waiting[rest], distances[:, rest]
    return found


def assignment_priority(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [T] by their nearest cluster and, within one, by what the second choice costs, largest
    first; clusters [T].
    """
    near = distances.min(0)
    second = distances.scatter(0, near.indices.unsqueeze(0), torch.inf).amin(0)
    loss = (second - near.values).nan_to_num(posinf=0.0).double()
    turn = (near.indices - 0.9 * loss / loss.max().clamp_min(1e-30)).argsort(stable=True)
    return turn, near.indices[turn]


def distances_to(centres: Tensor, features: Tensor) -> Tensor:
    """Squared distances [n, T] of features [T, q] to centres [n, q], less each token's own
    square.
    """
    return centres.square().sum(1, keepdim=True) - 2 * centres @ features.T


def balanced_kmeans(features: Tensor, size: int) -> Tensor:
    """Order of T tokens, int64 [T], in which each `size` in turn are alike; features [T, q].

    Balanced k-means: ROUNDS rounds of Lloyd's algorithm on every EVERY-th token, from evenly spaced
    ones, then clusters of `size` tokens (the last one may be shorter). Nothing is random. Within a
    block tokens stay in the order of the text. Fewer than two whole blocks stay as they are.
    """
    tokens = len(features)
    if tokens < 2 * size:
        return torch.arange(tokens, device=features.device)
    features, clusters = features.float(), -(-tokens // size)
    room = torch.full((clusters,), size, device=features.device)
    room[-1] = tokens - (clusters - 1) * size
    centres = features[torch.linspace(0, tokens - 1, clusters, device=features.device).long()]
    seen = features[::EVERY]
    for _ in range(ROUNDS):
        member = torch.nn.functional.one_hot(
            distances_to(centres, seen).min(0).indices, clusters
        ).to(features.dtype)
        count = member.sum(0).unsqueeze(1)
        centres = torch.where(count > 0, member.T @ seen / count.clamp_min(1), centres)
    return assign(distances_to(centres, features), room).argsort(stable=True)


def span_of(size: int) -> int:
    """Tokens that are sorted together: whole blocks, at least two."""
    return max(SPAN // size, 2) * size


def token_order(features: Tensor, size: int) -> Tensor:
    """`balanced_kmeans` within each SPAN of tokens (whole blocks), which bounds the cost for a long
    prompt; features [T, q].

    The surrogate's first FEATURES features are looked at: its closed form has the leading
    directions first.
    """
    span, leading = span_of(size), features[:, :FEATURES].contiguous()
    return torch.cat(
        [balanced_kmeans(part, size) + i * span for i, part in enumerate(leading.split(span))]
    )


def sorted_order(scale: Tensor, size: int) -> Tensor:
    """Order of T tokens, int64 [T], by a scalar [T] from large to small within each SPAN."""
    span = span_of(size)
    parts = [part.argsort(descending=True, stable=True) for part in scale.split(span)]
    return torch.cat([part + i * span for i, part in enumerate(parts)])


def order_flops(tokens: int, size: int, width: int) -> float:
    """FLOPs per token of `token_order` for a prompt of `tokens` tokens: distances to every centre,
    and the centres.
    """
    clusters = min(tokens, span_of(size)) / size
    return 2.0 * min(width, FEATURES) * clusters * (2 * ROUNDS / EVERY + 1)
