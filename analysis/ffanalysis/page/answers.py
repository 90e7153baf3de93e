"""Dense and sparse answers side by side, bounded, so that the page stays one small file."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ffanalysis.answer_files import answer_rows, answers_path, dense_answers_path
from ffanalysis.load import results
from ffanalysis.source import Source

PER_RUN, IN_ALL = 30, 300  # a page of about 1 MB opens at once on a phone
CHARACTERS = 500
MOVED = 0.005  # points; scores that differ by less are shown as equal anyway


@dataclass(frozen=True)
class Pair:
    """One record's answers. Texts are cut at CHARACTERS."""

    run_key: str
    task: str
    record_id: str
    prompt_tail: str
    gold: str
    dense: str
    sparse: str
    dense_score: float
    sparse_score: float

    @property
    def changed(self) -> bool:
        """True if the scores differ."""
        return abs(self.sparse_score - self.dense_score) > MOVED


@dataclass(frozen=True)
class Answers:
    """The pairs that the page shows, and how many it leaves out."""

    pairs: list[Pair]
    left_out: int

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, each once."""
        return sorted({pair.task for pair in self.pairs})

    @property
    def has_prompts(self) -> bool:
        """True if the answer files hold the ends of the prompts."""
        return any(pair.prompt_tail for pair in self.pairs)

    @property
    def has_gold(self) -> bool:
        """True if the answer files hold gold answers."""
        return any(pair.gold for pair in self.pairs)


def shortened(value: Any, end: bool = False) -> str:
    """A text cut at CHARACTERS; its end instead of its beginning if `end`."""
    text = "" if value is None else str(value)
    if len(text) <= CHARACTERS:
        return text
    return "…" + text[-CHARACTERS:] if end else text[:CHARACTERS] + "…"


def pair_of(run_key: str, dense: dict[str, Any], sparse: dict[str, Any]) -> Pair:
    """One record of a run."""
    return Pair(
        run_key=run_key,
        task=str(sparse["task"]),
        record_id=str(sparse["record_id"]),
        prompt_tail=shortened(sparse.get("prompt_tail"), end=True),
        gold=shortened(sparse.get("gold") or dense.get("gold")),
        dense=shortened(dense.get("prediction")),
        sparse=shortened(sparse.get("prediction")),
        dense_score=float(dense.get("score") or 0),
        sparse_score=float(sparse.get("score") or 0),
    )


def in_turn(pairs: list[Pair]) -> list[Pair]:
    """Pairs with a changed score first, the tasks in turn, so that no task takes all the room."""
    seen: Counter[tuple[str, bool]] = Counter()
    places = []
    for pair in pairs:
        places.append(seen[pair.task, pair.changed])
        seen[pair.task, pair.changed] += 1
    ranked = sorted(zip(pairs, places, strict=True), key=lambda one: (not one[0].changed, one[1]))
    return [pair for pair, _ in ranked]


def side_by_side(source: Source) -> Answers:
    """Pairs of every sparse run that has both answer files and decoded them, those with a changed
    score first.
    """
    shown: list[Pair] = []
    left_out = 0
    for folder, result in results(source.output_dir, source.run_keys):
        if result.dense or not result.dense_answers:
            continue
        sparse = answer_rows(answers_path(source.output_dir, folder, result))
        dense = {
            (row.get("task"), row.get("record_id")): row
            for row in answer_rows(dense_answers_path(source.output_dir, result))
        }
        pairs = [
            pair_of(result.run_key, dense[key], row)
            for row in sparse
            if (key := (row.get("task"), row.get("record_id"))) in dense
            and row.get("prediction") is not None
        ]
        pairs = in_turn(pairs)
        room = min(PER_RUN, IN_ALL - len(shown))
        shown += pairs[:room]
        left_out += len(pairs) - len(pairs[:room])
    return Answers(shown, left_out)
