"""A session: every runtime gets the same prompts in turn, and one that fails stops no other."""

from benchmarks.peers.arms import REFERENCE, Arm
from benchmarks.peers.process import WorkerError
from benchmarks.peers.session import Prompts, measure

PROMPTS = Prompts([0], [[1], [2], [3], [4]], [[5], [6]])


class Runtime:
    """Answers each prompt with its first id; fails at the prompt `fails_at`."""

    def __init__(self, name: str, log: list[tuple[str, int]], fails_at: int | None = None) -> None:
        self.name, self.log, self.fails_at = name, log, fails_at
        self.facts = {"runtime": name}
        self.closed = 0

    def ask(self, ids: list[int]) -> tuple[float, int]:
        if ids[0] == self.fails_at:
            raise WorkerError("it broke")
        self.log.append((self.name, ids[0]))
        return 0.5, ids[0] + 10

    def close(self) -> None:
        self.closed += 1


def arm(name: str, static: bool = False) -> Arm:
    return Arm(name, "none", "float32", "float32", static=static)


def session(fails_at: int | None = None, missing: bool = False):
    log: list[tuple[str, int]] = []
    arms = [arm(REFERENCE), arm("compiled", static=True), arm("other")]
    runtimes = {a.name: Runtime(a.name, log) for a in arms}
    runtimes["other"].fails_at = fails_at

    def start(a: Arm) -> Runtime:
        if missing and a.name == "other":
            raise WorkerError("not installed")
        return runtimes[a.name]

    return measure(arms, start, PROMPTS, 3, lambda text: None), runtimes, log


def test_timed_prompts_go_round_and_orders_differ() -> None:
    measured, runtimes, log = session()
    timed = [entry for entry in log if 1 <= entry[1] <= 4]
    rounds = [timed[i : i + 3] for i in range(0, 12, 3)]
    assert all(len({ids for _, ids in one}) == 1 for one in rounds), "a prompt is finished first"
    assert len({tuple(name for name, _ in one) for one in rounds}) > 1, "orders are shuffled"
    assert measured["other"].next_tokens == [10, 11, 12, 13, 14, 15, 16]
    assert measured["other"].seconds == [0.5] * 4 and measured["other"].facts
    assert all(runtime.closed == 1 for runtime in runtimes.values())


def test_compiled_runtime_gets_no_short_prompts() -> None:
    measured, _, _ = session()
    assert measured["compiled"].next_tokens == [10, 11, 12, 13, 14, None, None]


def test_failure_keeps_its_reason_and_what_was_measured() -> None:
    measured, runtimes, _ = session(fails_at=3)
    assert measured["other"].seconds == [0.5, 0.5, None, None]
    assert measured["other"].reason == "it broke" and runtimes["other"].closed == 1
    assert measured[REFERENCE].seconds == [0.5] * 4 and measured[REFERENCE].reason is None


def test_failure_of_the_untimed_prompt_is_a_reason_too() -> None:
    measured, _, _ = session(fails_at=0)
    assert measured["other"].reason == "it broke" and measured["other"].seconds == [None] * 4


def test_runtime_that_cannot_start_is_no_silence() -> None:
    measured, runtimes, log = session(missing=True)
    assert measured["other"].reason == "not installed" and not runtimes["other"].closed
    assert not any(name == "other" for name, _ in log) and measured[REFERENCE].seconds[3] == 0.5
