"""One session: every runtime loaded once, then timed prompt by prompt in an order that is shuffled
anew for each prompt.

A process per runtime answers in turn, instead of a fresh one per prompt: loading takes longer than
a prefill (OpenVINO reads a GGUF file in seconds, torch.compile needs a minute), so within the same
time there are several times as many pairs. Nobody's state reaches another's process, no prompt
comes twice, and idle processes are stopped. What differs from process to process shows between
sessions.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.peers.arms import Arm
from benchmarks.peers.process import WorkerError

Ids = list[int]


class Answers(Protocol):
    """A loaded runtime."""

    facts: dict[str, Any]

    def ask(self, ids: Ids) -> tuple[float, int]:
        """Seconds and the next token's id."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of one session: one untimed for each runtime, the timed ones, and short ones that are
    only compared.
    """

    warm_up: Ids
    timed: Sequence[Ids]
    short: Sequence[Ids]

    def all(self) -> list[Ids]:
        """In the order in which they are asked."""
        return [self.warm_up, *self.timed, *self.short]


@dataclass
class Measured:
    """One runtime in one session; None where it gave no answer. `next_tokens` has one entry for
    each of `Prompts.all`, `seconds` one for each timed prompt. `reason`: why it failed.
    """

    seconds: list[float | None]
    next_tokens: list[int | None]
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None


def measure(
    arms: Sequence[Arm],
    start: Callable[[Arm], Answers],
    prompts: Prompts,
    seed: int,
    report: Callable[[str], None],
) -> dict[str, Measured]:
    """Measurements by the arm's name. If a runtime fails, its reason is kept; the others go on."""
    every = prompts.all()
    measured = {
        arm.name: Measured([None] * len(prompts.timed), [None] * len(every)) for arm in arms
    }
    running: dict[str, Answers] = {}

    def ask(name: str, number: int) -> float | None:
        try:
            seconds, token = running[name].ask(every[number])
        except WorkerError as error:
            fail(name, str(error))
            return None
        measured[name].next_tokens[number] = token
        return seconds

    def fail(name: str, reason: str) -> None:
        measured[name].reason = reason
        report(f"{name}: {reason}")
        if name in running:
            running.pop(name).close()

    try:
        for arm in arms:
            report(f"loading {arm.name}")
            try:
                running[arm.name] = start(arm)
            except WorkerError as error:
                fail(arm.name, str(error))
                continue
            measured[arm.name].facts = running[arm.name].facts
            ask(arm.name, 0)
        order = random.Random(seed)
        for number in range(len(prompts.timed)):
            report(f"prompt {number + 1} of {len(prompts.timed)}")
            names = list(running)
            order.shuffle(names)
            for name in names:
                measured[name].seconds[number] = ask(name, 1 + number)
        if prompts.short:
            report(f"next tokens of {len(prompts.short)} short prompts")
        for name in [arm.name for arm in arms if not arm.static]:
            for number in range(1 + len(prompts.timed), len(every)):
                if name in running:
                    ask(name, number)
    finally:
        for worker in running.values():
            worker.close()
    return measured
