"""Prompt ids: the middle cut, the frame around it, begin and end tokens, gold answers."""

from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.evaluation.prompts import PromptError, gold_ids, prompt_ids, stop_ids
from ffbench.models.loading import ByteTokenizer
from ffbench.tasks.base import TaskRecord, TaskSpec


class Letters:
    """One id a letter; a template of one letter either side; a begin token B before raw text; E and
    X are special."""

    eos_token_id = ord("E")
    all_special_ids = (ord("B"), ord("E"), ord("X"))
    chat_template: str | None = "yes"

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [ord(c) for c in ("B" if add_special_tokens else "") + text]

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        assert (
            options["enable_thinking"] is False
            and options["tokenize"] is False
            and options["date_string"]
        )
        return "".join(
            f"<{m['content']}X;" if m["role"] == "assistant" else f"<{m['content']}>"
            for m in messages
        )


def spec(chat: bool, new: int = 3) -> TaskSpec:
    return TaskSpec(
        "t",
        "c",
        "m",
        new,
        lambda part, limit: [],
        lambda text, record: 0.0,
        lambda records: None,
        chat=chat,
    )


RECORD = TaskRecord("r", "t", "abcdefgh", "ijk", ("", "gold"))


@pytest.mark.parametrize(
    ("chat", "room", "expected", "question"),
    [
        (False, 8, "Babcijk"[:4] + "hijk", 5),
        (True, 7, "<abijk>", 3),
        (True, 13, "<abcdefghijk>", 9),
        (False, 5, "Babjk", 3),
    ],
)
def test_cut_frame_and_question(chat: bool, room: int, expected: str, question: int) -> None:
    prompt = prompt_ids(Letters(), spec(chat), RECORD, room + 3)
    assert "".join(map(chr, prompt.ids)) == expected
    assert prompt.question_at == question
    assert prompt.cut == 11 - (len(expected) - (2 if chat else 1))


def test_chat_task_without_a_template_is_raw() -> None:
    tokenizer = Letters()
    tokenizer.chat_template = None
    assert "".join(map(chr, prompt_ids(tokenizer, spec(True), RECORD, 99).ids)) == "Babcdefghijk"


def test_no_room_names_the_setting() -> None:
    with pytest.raises(PromptError, match=r"task.max_length=6: .* choose 7 or more"):
        prompt_ids(Letters(), spec(True), RECORD, 6)
    assert len(prompt_ids(Letters(), spec(True), RECORD, 7).ids) == 4


@pytest.mark.parametrize(
    ("chat", "question", "expected"),
    [
        (False, "Type:", " gold"),
        (False, "Type: ", "gold"),
        (False, "code:\n", "gold"),
        (False, "类别：", "gold"),
        (True, "Type:", "gold"),
        (False, "", " gold"),
    ],
)
def test_gold_follows_a_raw_prompt_with_a_space(chat: bool, question: str, expected: str) -> None:
    record = TaskRecord("r", "t", "context", question, ("", "gold"))
    assert "".join(map(chr, gold_ids(Letters(), spec(chat, 9), record))) == expected
    assert len(gold_ids(Letters(), spec(chat, 2), record)) == 2


def test_every_end_token() -> None:
    model = SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=[1, 2]),
        config=SimpleNamespace(eos_token_id=3),
    )
    assert stop_ids(model, Letters()) == {1, 2, 3, ord("E"), ord("X")}
    model = SimpleNamespace(generation_config=None, config=SimpleNamespace(eos_token_id=None))
    assert stop_ids(model, ByteTokenizer()) == {2}
