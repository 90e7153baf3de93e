"""Generated RULER records: what is asked is in the prompt, once, and the prompt fills its length."""

import re
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from small_tokenizers import CHATML, INST, byte_level, sentencepiece

from ffbench.evaluation.filled_prompts import filled
from ffbench.evaluation.prompts import gold_ids, prompt_ids, prompt_size
from ffbench.tasks.base import TaskError, TaskRecord
from ffbench.tasks.registry import get_spec
from ffbench.tasks.ruler.common_words import numbered
from ffbench.tasks.ruler.filling import drawn, most_units
from ffbench.tasks.ruler.frequent_words import INTRODUCTION as FREQUENT
from ffbench.tasks.ruler.frequent_words import FrequentWords, counts
from ffbench.tasks.ruler.needles import new_keys
from ffbench.tasks.ruler.tasks import NEEDLE_TASKS
from ffbench.tasks.ruler.words import PAIRS

NEEDLE = re.compile(r"One of the special magic (\w+) for (\S+) is: (\S+)\.")
# needles hidden, values asked, kind of haystack: RULER's synthetic.yaml; None: fills with needles
EXPECTED = {
    "niah_single_1": (1, 1, "The grass is green."),
    "niah_single_2": (1, 1, None),
    "niah_single_3": (1, 1, None),
    "niah_multikey_1": (4, 1, None),
    "niah_multikey_2": (None, 1, None),
    "niah_multikey_3": (None, 1, None),
    "niah_multivalue": (4, 4, None),
    "niah_multiquery": (4, 4, None),
}
UUIDS = ("niah_single_3", "niah_multikey_3")
LENGTH = 3000


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return byte_level(CHATML)


def records(tokenizer: object, name: str, count: int = 2, length: int = LENGTH) -> list[TaskRecord]:
    spec = get_spec(name)
    return filled(tokenizer, [(spec, spec.records(count))], length)[0][1]


def test_the_tasks_are_rulers() -> None:
    assert set(EXPECTED) == set(NEEDLE_TASKS)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_values_of_the_asked_keys_are_the_answers(tokenizer: object, name: str) -> None:
    hidden, asked, noise = EXPECTED[name]
    for record in records(tokenizer, name):
        needles = NEEDLE.findall(record.context)
        keys = record.question.split(" for ")[1].removesuffix(" mentioned in the provided text?")
        named = re.split(r", and |, ", keys)
        values = [value for key in named for _, other, value in needles if other == key]
        assert len(values) == asked and sorted(values) == sorted(record.answers)
        assert len(needles) == hidden or (hidden is None and len(needles) > 20)
        assert len({(key, value) for _, key, value in needles}) == len(needles)
        kind = "uuids" if name in UUIDS else "numbers"
        assert {found for found, _, _ in needles} == {kind}
        length = 36 if kind == "uuids" else 7
        assert all(len(value) == length for value in values)
        assert (noise is None) != ("The grass is green." in record.context)
        words = kind.removesuffix("s") if asked == 1 else kind
        assert record.question.startswith(f"\nWhat {'is' if asked == 1 else 'are all'} the special")
        assert f"special magic {words} " in record.answer_prefix
        assert record.answer_prefix.endswith("is" if asked == 1 else "are")


def test_the_chain_of_assignments_leads_to_the_answers(tokenizer: object) -> None:
    for record in records(tokenizer, "ruler_vt"):
        example, text = record.context.split("\n\nMemorize", 1)
        for part, answers in ((example, tuple(example.split()[-5:])), (text, record.answers)):
            state: dict[str, str] = {}
            for name, given in re.findall(r"VAR (\w+) = (?:VAR )?(\w+)", part):
                state[name] = state.get(given, given)
            assert tuple(state) == answers and len(set(state.values())) == 1 and len(answers) == 5
        assert state[answers[0]] in record.question and state[answers[0]] in record.answer_prefix
        assert record.gold == " ".join(record.answers)


@pytest.mark.parametrize(("length", "common", "other"), [(4095, 6, 1), (9000, 30, 3)])
def test_the_common_words_are_those_that_occur_most_often(
    tokenizer: object, length: int, common: int, other: int
) -> None:
    (record,) = records(tokenizer, "ruler_cwe", 1, length)
    example, text = (
        re.findall(r"(\d+)\. (\S+)", part) for part in record.context.split("10 words that occur")
    )
    shown, listed = example, text[10:]  # the example's answer comes first
    assert [int(number) for number, _ in listed] == list(range(1, len(listed) + 1))
    often = Counter(word for _, word in listed)
    assert set(often.values()) == {common, other} and len(often) > 20
    assert {word for word, count in often.items() if count == common} == set(record.answers)
    answers = Counter(word for _, word in shown).most_common(10)
    assert {word for word, _ in answers} == {word for _, word in text[:10]}
    assert len({count for _, count in answers}) == 1 and answers[0][1] in (3, 10)
    assert record.gold == numbered(list(record.answers)) and len(record.answers) == 10


def test_the_frequent_words_are_those_that_occur_most_often(tokenizer: object) -> None:
    for record in records(tokenizer, "ruler_fwe"):
        text = record.context.removeprefix(FREQUENT).split()
        ranked = Counter(text).most_common()
        assert ranked[0][0] == "..." and tuple(word for word, _ in ranked[1:4]) == record.answers
        assert ranked[3][1] > ranked[4][1]
        # by Zipf's law with exponent 2, rounded down
        assert all(abs(ranked[0][1] / rank**2 - ranked[rank - 1][1]) < 1 for rank in (2, 3, 4))
        assert all(re.fullmatch("[a-z]{6}", word) for word, _ in ranked[1:])
        assert len(ranked) <= (LENGTH - 50) // 50


def test_a_text_of_any_length_has_three_most_frequent_words() -> None:
    least = FrequentWords().least
    assert counts(least - 1, 5)[3] == counts(least - 1, 5)[4]
    for words in range(least, 20_000):
        often = counts(words, 5)
        assert often[3] > often[4] and sum(often) <= words


@pytest.mark.parametrize(
    "name", ["niah_single_1", "niah_multikey_1", "niah_multikey_3", "ruler_vt", "ruler_fwe"]
)
@pytest.mark.parametrize("length", [2500, 4001])
def test_a_prompt_fills_its_length_and_one_more_unit_does_not_fit(
    tokenizer: object, name: str, length: int
) -> None:
    spec = get_spec(name)
    (record,) = records(tokenizer, name, 1, length)
    room = length - spec.max_new_tokens
    ids = prompt_ids(tokenizer, spec, record, length)
    assert ids.cut == 0 and len(ids.ids) <= room
    unit = 8 if name == "niah_multikey_1" else 160  # tokens of a word, or of a line
    assert len(ids.ids) > room - unit
    assert len(ids.ids) == prompt_size(tokenizer, spec, record)


@pytest.mark.parametrize("name", ["niah_multiquery", "ruler_vt", "ruler_cwe", "ruler_fwe"])
def test_another_length_asks_the_same_and_another_seed_something_else(
    tokenizer: object, name: str
) -> None:
    spec = get_spec(name)
    (short,), (long,) = (records(tokenizer, name, 1, length) for length in (2500, 4000))
    assert short.answers == long.answers and short.question == long.question
    assert len(short.context) < len(long.context) and short.recipe == long.recipe
    assert spec.records(3, seed=1) == spec.records(4, seed=1)[:3]
    others = {r.answers for r in spec.records(8)} | {r.answers for r in spec.records(8, seed=1)}
    assert len(others) == 16


@pytest.mark.parametrize("template", [None, CHATML])
def test_the_answer_continues_its_beginning(template: str | None) -> None:
    tokenizer = byte_level(template)
    spec = get_spec("niah_single_1")
    (record,) = records(tokenizer, "niah_single_1", 1)
    ids = prompt_ids(tokenizer, spec, record, LENGTH)
    text = tokenizer.decode(ids.ids + gold_ids(tokenizer, spec, record))
    assert text.endswith(f"{record.answer_prefix} {record.answers[0]}")
    question = tokenizer.decode(ids.ids[ids.question_at :])
    assert question.startswith(record.question) and ("assistant\n" in question) == bool(template)


def test_a_template_that_begins_answers_with_a_space_keeps_it() -> None:
    tokenizer = sentencepiece(INST)
    spec = get_spec("niah_single_1")
    (record,) = records(tokenizer, "niah_single_1", 1)
    text = tokenizer.decode(prompt_ids(tokenizer, spec, record, LENGTH).ids)
    assert text.endswith(f"[/INST] {record.answer_prefix}")


def test_a_length_without_room_names_every_task_and_the_least_length(tokenizer: object) -> None:
    specs = [get_spec("niah_single_1"), get_spec("ruler_vt")]
    work = [(spec, spec.records(1)) for spec in specs]
    with pytest.raises(TaskError, match=r"niah_single_1.*; task.max_length=300.*ruler_vt") as error:
        filled(tokenizer, work, 300)
    least = int(re.findall(r"to (\d+) or more", str(error.value))[0])
    assert filled(tokenizer, work[:1], least)[0][1][0].context
    with pytest.raises(TaskError):
        filled(tokenizer, work[:1], least - 1)


@pytest.mark.parametrize(
    ("prediction", "points"),
    [("1234567", 50.0), ("it is 1234567, ABC-9", 100.0), ("abc-9\x0012", 50.0), ("", 0.0)],
)
def test_the_score_is_the_share_of_the_values_named(prediction: str, points: float) -> None:
    spec = get_spec("niah_multivalue")
    record = TaskRecord("r", spec.name, "", "", ("1234567", "abc-9"))
    assert spec.points(prediction, record) == points
    assert spec.chance_points([record]) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_the_most_units_are_those_of_a_linear_search(seed: int) -> None:
    generator = Random(seed)
    sizes = [generator.randrange(5, 60)]
    while sizes[-1] < 6000:
        sizes.append(sizes[-1] + generator.choice((0, 1, 3, 40)))
    room, least = generator.randrange(1, 5000), generator.randrange(4)
    fitting = [n for n, size in enumerate(sizes) if n >= least and size <= room]
    tail = sizes[-1]

    def size(units: int) -> int:
        return sizes[units] if units < len(sizes) else tail + units

    expected = fitting[-1] if fitting and fitting[0] == least else None
    assert most_units(size, least, room) == expected


def test_keys_never_repeat_even_when_the_words_run_out() -> None:
    keys = new_keys("words", len(PAIRS) + 5, Random(0))
    assert len(set(keys)) == len(PAIRS) + 5 == len(keys)
    assert new_keys("words", 7, Random(0)) == keys[:7]


def test_drawn_words_are_numbered_once_they_run_out() -> None:
    words = drawn(("one", "two", "three"), 7, Random(0))
    assert len(set(words)) == 7 and sorted(words[:3]) == ["one", "three", "two"]
    assert words[3:] == [f"{word}-1" for word in words[:3]] + [f"{words[0]}-2"]


def test_the_recipe_names_what_the_context_is_made_from() -> None:
    prose, noise = (get_spec(name).records(1)[0] for name in ("niah_single_2", "niah_single_1"))
    assert '"prose": "' in prose.recipe and '"prose": "' not in noise.recipe
    assert prose.context == "" and replace(prose, recipe="") != prose
