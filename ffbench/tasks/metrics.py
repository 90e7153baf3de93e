"""Metrics that a task may name, in points (0 to 100)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from ffbench.tasks.base import TaskRecord
from ffbench.tasks.longbench import metrics as longbench

Scorer = Callable[[str, TaskRecord], float]


def string_match_all(prediction: str, record: TaskRecord) -> float:
    """Share of the answers that occur in the prediction, in any case (RULER)."""
    text = prediction.lower()
    return 100 * sum(gold.lower() in text for gold in record.answers) / len(record.answers)


def string_match_part(prediction: str, record: TaskRecord) -> float:
    """100 if an answer occurs in the prediction, in any case (RULER)."""
    text = prediction.lower()
    return 100.0 * any(gold.lower() in text for gold in record.answers)


def exact_match(prediction: str, record: TaskRecord) -> float:
    """100 if the prediction is an answer, but for case, punctuation and articles (SQuAD)."""
    words = longbench.english_words(prediction)
    return 100.0 * any(words == longbench.english_words(gold) for gold in record.answers)


def best(metric: Callable[[str, str], float]) -> Scorer:
    """A metric of one gold answer as the best one over the record's answers."""
    return lambda prediction, record: max(metric(prediction, gold) for gold in record.answers)


@dataclass(frozen=True)
class Metric:
    """A scorer, and the package that it needs, if any."""

    score: Scorer
    package: str = ""

    @property
    def missing(self) -> bool:
        """Whether its package is not installed."""
        return bool(self.package) and find_spec(self.package) is None


METRICS: dict[str, Metric] = {
    "exact_match": Metric(exact_match),
    "string_match_all": Metric(string_match_all),
    "string_match_part": Metric(string_match_part),
    "f1": Metric(best(longbench.f1)),
    "rouge_l": Metric(best(longbench.rouge_l), "rouge"),
    "code_similarity": Metric(best(longbench.code_similarity)),
    "number_share": Metric(best(longbench.number_share)),
}


def other_answer_chance(score: Scorer, records: Sequence[TaskRecord]) -> float | None:
    """Mean score of the next record's first answer, points; None for a single record, which has no
    other answer to be scored by.
    """
    if len(records) < 2:
        return None
    pairs = zip(records, [*records[1:], records[0]], strict=True)
    return sum(score(other.answers[0], record) for record, other in pairs) / len(records)
