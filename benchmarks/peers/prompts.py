"""The prompts of every session: held-out text, none twice at the same length."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.session import Prompts
from ffbench.cli.errors import UsageError

SHORT_TOKENS = 512  # of the prompts that are compared but not timed


def prompts_of(tokenizer: Any, options: Namespace) -> list[Prompts]:
    """Prompts of each session. Raises UsageError if the text has too few."""
    sessions, rounds = options.sessions, options.rounds
    timed = windows(tokenizer, options.tokens, sessions * (1 + rounds))
    short = windows(tokenizer, min(SHORT_TOKENS, options.tokens), sessions * options.short)
    return [
        Prompts(
            next(timed),
            [next(timed) for _ in range(rounds)],
            [next(short) for _ in range(options.short)],
        )
        for _ in range(sessions)
    ]


def windows(tokenizer: Any, length: int, count: int) -> Iterator[list[int]]:
    """`count` windows of `length` tokens, kinds of text in turn. Raises UsageError if there are too
    few.
    """
    from ffbench.experiment.calibration import judged_windows

    if not count:
        return iter(())
    kinds = judged_windows(tokenizer, "heldout", length=length, count=count)
    rows = [ids.tolist() for _, ids in kinds.values()]
    # as many of each kind: zip ends with the shortest
    prompts = [ids for in_turn in zip(*rows, strict=False) for ids in in_turn]
    if len(prompts) < count:
        raise UsageError(
            f"the held-out text has {len(prompts)} prompts of {length} tokens, {count} are needed; "
            "choose fewer --sessions, --rounds or --short, or smaller --tokens"
        )
    return iter(prompts[:count])
