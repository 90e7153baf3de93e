"""LongBench's metrics on fixed pairs, values worked out by hand, and the rules of each task around
them."""

from difflib import SequenceMatcher
from pathlib import Path

import pytest
from rouge import Rouge

from ffbench.tasks.base import TaskRecord
from ffbench.tasks.longbench import metrics as scores
from ffbench.tasks.longbench.tasks import RULES
from ffbench.tasks.registry import get_spec


@pytest.mark.parametrize(
    ("prediction", "gold", "points"),
    [
        ("The cat sat.", "a cat", 200 / 3),
        ("yes yes yes", "yes", 50),
        ("U.S.A.", "usa", 100),
        ("the", "cat", 0),
        ("", "cat", 0),
        ("Ada  Lovelace\nwrote it", "Lovelace, Ada", 200 / 3),
    ],
)
def test_f1(prediction: str, gold: str, points: float) -> None:
    assert scores.f1(prediction, gold) == pytest.approx(points)


@pytest.mark.parametrize(
    ("prediction", "gold", "points"),
    [
        ("小明硕士毕业于中国科学院计算所", "中国科学院", 200 / 7),
        ("红色。", "红色", 100),
        ("蓝色", "红色", 0),
        ("（红色）", "红色！", 100),
    ],
)
def test_f1_on_chinese_words(prediction: str, gold: str, points: float) -> None:
    """The first is the example of jieba's documentation: six words."""
    assert scores.f1(prediction, gold, chinese=True) == pytest.approx(points)


@pytest.mark.parametrize(
    ("prediction", "gold", "points"),
    [
        ("the cat sat", "the cat ran", 200 / 3),
        ("the cat sat on the mat", "the cat", 400 / 7),
        ("cat the", "the cat", 50),
        ("", "the cat", 0),
        (" . \n", "the cat", 0),
        ("dog", "the cat", 0),
    ],
)
def test_rouge_l(prediction: str, gold: str, points: float) -> None:
    """Distinct words count once: five in the second prediction, so precision is 2/5 and recall
    1."""
    assert scores.rouge_l(prediction, gold) == pytest.approx(points, abs=1e-3)


def test_rouge_l_of_sentences_that_its_recursion_cannot_take_is_0() -> None:
    one, other = (" ".join(f"{word}{i} item{i}" for i in range(450)) for word in ("a", "b"))
    with pytest.raises(RecursionError):
        Rouge(metrics=["rouge-l"]).get_scores([one], [other], avg=True)
    assert scores.rouge_l(one, other) == 0 and scores.rouge_l("", other) == 0


def test_rouge_l_on_chinese_words() -> None:
    assert scores.rouge_l("红色的灯", "红色的灯", chinese=True) == pytest.approx(100, abs=1e-3)
    assert scores.rouge_l(
        "小明硕士毕业于中国科学院计算所", "中国科学院", chinese=True
    ) == pytest.approx(200 / 7, abs=1e-3)


@pytest.mark.parametrize(
    ("prediction", "gold", "classes", "points"),
    [
        ("Food and Date", "Date", ("Food", "Date", "City"), 50),
        ("City", "Date", ("Food", "Date", "City"), 0),
        ("Food item", "Food item", ("Food", "Food item"), 100),
        ("none", "Date", ("Food", "Date"), 0),
        ("abc", "abc", ("a", "ab", "abc"), 50),
    ],
)
def test_classification(
    prediction: str, gold: str, classes: tuple[str, ...], points: float
) -> None:
    """The last: LongBench removes "a" while it goes through the list, and so never looks at
    "ab"."""
    assert scores.classification(prediction, gold, classes) == points


@pytest.mark.parametrize(
    ("prediction", "gold", "points"),
    [("There are 5 of 7", "5", 50), ("none", "5", 0), ("15", "5", 0), ("5, 5, 6, 7", "5", 50)],
)
def test_count(prediction: str, gold: str, points: float) -> None:
    assert scores.number_share(prediction, gold) == points


def test_retrieval() -> None:
    assert scores.retrieval("Paragraph 3, Paragraph 12", "Paragraph 3") == 50
    assert scores.retrieval("13", "Paragraph 3") == 0
    assert scores.retrieval("段落3", "段落3", chinese=True) == 100
    with pytest.raises(ValueError, match="names no paragraph"):
        scores.retrieval("3", "段落3")


@pytest.mark.parametrize(
    ("prediction", "gold", "points"),
    [
        ("x = 1", "x = 2", 80),
        ("\n\nx = 1\ny = 2", "x = 1", 100),
        ("```python\nx = 1\n```", "x = 1", 100),
        ("# note\n// note\n    x = 1", "    x = 1", 100),
        ("# note\n\nx = 1", "x = 1", 0),
        ("# note", "x = 1", 0),
        ("", "x", 0),
    ],
)
def test_code_similarity(prediction: str, gold: str, points: float) -> None:
    """A blank line after a comment holds no mark, so it is the line that counts."""
    assert scores.code_similarity(prediction, gold) == points


@pytest.mark.filterwarnings("ignore:Using slow pure-python SequenceMatcher")
def test_code_similarity_is_that_of_fuzzywuzzy(monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz = pytest.importorskip("fuzzywuzzy.fuzz")
    monkeypatch.setattr(fuzz, "SequenceMatcher", SequenceMatcher)
    source = Path(scores.__file__).read_text().splitlines()
    lines = [line for line in source if line.strip() and not any(mark in line for mark in "#`")]
    for first, second in zip(lines, lines[1:] + [lines[0] * 9], strict=True):
        assert scores.code_similarity(first, second) == fuzz.ratio(first, second)


def score(task: str, prediction: str, *answers: str, classes: tuple[str, ...] = ()) -> float:
    return get_spec(task).score(prediction, TaskRecord("r", task, "", "", answers, classes))


@pytest.mark.parametrize(
    ("task", "first", "second", "other"),
    [
        ("trec", "Food", "City", 50),
        ("lsht", "体育", "财经", 50),
        ("triviaqa", "Oslo", "Rome", 200 / 3),
        ("samsum", "They greet", "and leave", 200 / 3),
    ],
)
def test_the_four_first_line_tasks(task: str, first: str, second: str, other: float) -> None:
    """`other` is the score that both lines would get."""
    assert score(task, f"\n\n{first}\n{second}", first, classes=(first, second)) == pytest.approx(
        100, abs=1e-3
    )
    assert score(task, f"{first} {second}", first, classes=(first, second)) == pytest.approx(
        other, abs=1e-3
    )


@pytest.mark.parametrize("task", sorted(set(RULES) - {"trec", "lsht", "triviaqa", "samsum"}))
def test_the_other_tasks_read_every_line(task: str) -> None:
    assert not RULES[task].get("first_line")


def test_lines_below_the_first_count_elsewhere() -> None:
    assert score("qasper", "Oslo\nRome", "Oslo") == pytest.approx(200 / 3)


def test_the_best_of_several_answers_counts() -> None:
    assert score("qasper", "Oslo", "Rome", "Oslo", "Paris") == 100
    assert score("samsum", "They greet.", "Nothing here", "They greet.") == pytest.approx(
        100, abs=1e-3
    )
    assert score("trec", "City", "Food", "City", classes=("Food", "City")) == 100


METRICS = {
    "f1": ("narrativeqa qasper multifieldqa_en multifieldqa_zh hotpotqa 2wikimqa musique triviaqa"),
    "rouge_l": "dureader gov_report qmsum multi_news vcsum samsum",
    "classification": "trec lsht",
    "count": "passage_count",
    "retrieval": "passage_retrieval_en passage_retrieval_zh",
    "code_similarity": "lcc repobench-p",
}
LENGTHS = {
    32: "hotpotqa 2wikimqa musique triviaqa passage_count passage_retrieval_en passage_retrieval_zh",
    64: "multifieldqa_en multifieldqa_zh trec lsht lcc repobench-p",
    128: "narrativeqa qasper dureader samsum",
    512: "gov_report qmsum multi_news vcsum",
}


def test_metric_and_answer_length_of_every_task() -> None:
    assert {task: name for name, tasks in METRICS.items() for task in tasks.split()} == {
        task: rule["metric"] for task, rule in RULES.items()
    }
    assert {task: length for length, tasks in LENGTHS.items() for task in tasks.split()} == {
        task: rule["max_new_tokens"] for task, rule in RULES.items()
    }
    chinese = {task for task, rule in RULES.items() if rule.get("chinese")}
    assert chinese == {"multifieldqa_zh", "dureader", "vcsum", "lsht", "passage_retrieval_zh"}
