"""Retrieval questions of a wanted length, from the embedded prose."""

import re

import pytest

from ffbench.models.tiny import ByteTokenizer
from ffbench.tasks.base import TaskError
from ffbench.tasks.embedded import LABELS
from ffbench.tasks.retrieval_questions import retrieval_questions


@pytest.mark.parametrize("tokens", [1200, 4001])
@pytest.mark.parametrize("part", ["heldout", "test"])
def test_the_context_has_the_wanted_length_and_holds_the_answer(part: str, tokens: int) -> None:
    tokenizer = ByteTokenizer()
    found = retrieval_questions(tokenizer, part, context_tokens=tokens, count=12)
    assert len({one.name for one in found}) == 12
    assert len({tuple(one.question) for one in found}) == 12
    for one in found:
        assert len(one.context) == tokens and one.context.count(tokenizer.bos_token_id) == 1
        context, question = tokenizer.decode(one.context), tokenizer.decode(one.question)
        passage = question.removeprefix("\n\n").removesuffix(" [label:")
        assert context.count(passage) == 1
        label = re.match(r" \[label: (\w+)\]", context.split(passage)[1])
        assert label and tokenizer.decode(one.gold) == f" {label[1]}"
        labels = re.findall(r"\[label: (\w+)\]", context)
        assert len(labels) == len(set(labels))


def test_the_place_of_the_answer_varies_and_a_shorter_list_is_its_beginning() -> None:
    tokenizer = ByteTokenizer()
    found = retrieval_questions(tokenizer, "heldout", context_tokens=4000, count=20)
    places = set()
    for one in found:
        labels = re.findall(r"\[label: (\w+)\]", tokenizer.decode(one.context))
        places.add(labels.index(tokenizer.decode(one.gold).strip()) / len(labels))
    assert min(places) < 0.3 and max(places) > 0.7
    assert found[:3] == retrieval_questions(tokenizer, "heldout", context_tokens=4000, count=3)


def test_labels_are_distinct_and_too_long_a_context_is_refused() -> None:
    assert len(set(LABELS)) == len(LABELS)
    with pytest.raises(TaskError, match="do not fill a context of 1000000 tokens"):
        retrieval_questions(ByteTokenizer(), "test", context_tokens=1_000_000, count=1)
