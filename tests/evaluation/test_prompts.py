"""Prompt ids: equal to the template's own, the middle cut, the frame around it, begin and end tokens,
gold answers."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import transformers.utils.chat_template_utils as template_utils
from small_tokenizers import CHATML, DATED, INST, TRIMMED, byte_level, sentencepiece

from ffbench.evaluation import chat_template, prompts
from ffbench.evaluation.chat_template import (
    TEMPLATE_VALUES,
    PromptError,
    chat_frame,
    template_hash,
)
from ffbench.evaluation.prompts import (
    gold_ids,
    prompt_ids,
    stop_ids,
)
from ffbench.models.tiny import ByteTokenizer
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


def task(chat: bool, new: int = 3) -> TaskSpec:
    return TaskSpec(
        name="t",
        category="c",
        metric="m",
        max_new_tokens=new,
        load=lambda limit: [],
        score=lambda text, record: 0.0,
        chance=lambda records: None,
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
    prompt = prompt_ids(Letters(), task(chat), RECORD, room + 3)
    assert "".join(map(chr, prompt.ids)) == expected
    assert prompt.question_at == question
    assert prompt.cut == 11 - (len(expected) - (2 if chat else 1))


def test_chat_task_without_a_template_is_raw() -> None:
    tokenizer = Letters()
    tokenizer.chat_template = None
    assert "".join(map(chr, prompt_ids(tokenizer, task(True), RECORD, 99).ids)) == "Babcdefghijk"


def test_no_room_names_the_setting() -> None:
    with pytest.raises(
        PromptError,
        match=r"task.max_length=6: t answers .* leaves 1 tokens .* set task.max_length to 7",
    ):
        prompt_ids(Letters(), task(True), RECORD, 6)
    assert len(prompt_ids(Letters(), task(True), RECORD, 7).ids) == 4


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
    assert "".join(map(chr, gold_ids(Letters(), task(chat, 9), record))) == expected
    assert len(gold_ids(Letters(), task(chat, 2), record)) == 2


def test_every_end_token() -> None:
    model = SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=[1, 2]),
        config=SimpleNamespace(eos_token_id=3),
    )
    assert stop_ids(model, Letters()) == {1, 2, 3, ord("E"), ord("X")}
    model = SimpleNamespace(generation_config=None, config=SimpleNamespace(eos_token_id=None))
    assert stop_ids(model, ByteTokenizer()) == {2}


ARTICLE = TaskRecord(
    "a",
    "t",
    "Article: The answer is forty two.",
    "\n\nQuestion: What is it?\n\nAnswer:",
    ("forty",),
)
TOKENIZERS = {
    "bytes": byte_level(),
    "bytes, no begin token": byte_level(begin=False),
    "bytes, end token added": byte_level(end=True),
    "bytes, chat": byte_level(CHATML),
    "bytes, trimmed chat": byte_level(TRIMMED),
    "bytes, dated chat": byte_level(DATED),
    "pieces": sentencepiece(),
    "pieces, chat": sentencepiece(INST),
}


def reference(tokenizer: Any, text: str) -> list[int]:
    """The ids by transformers alone."""
    if tokenizer.chat_template is None:
        ids = tokenizer.encode(text)
        return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
    with chat_template.stopped_clock():
        out = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tokenize=True,
            add_generation_prompt=True,
            **TEMPLATE_VALUES,
        )
    return list(out["input_ids"] if hasattr(out, "keys") else out)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("space", ["", " "])
def test_uncut_prompts_equal_the_templates_own_ids(name: str, space: str) -> None:
    tokenizer = TOKENIZERS[name]
    record = TaskRecord("a", "t", space + ARTICLE.context, ARTICLE.question + space, ("x",))
    prompt = prompt_ids(tokenizer, task(True), record, 4096)
    assert prompt.ids == reference(tokenizer, record.context + record.question)
    assert prompt.cut == 0
    question = tokenizer.decode(prompt.ids[prompt.question_at :])
    assert question.strip().startswith("Question: What is it?")
    context = tokenizer.decode(prompt.ids[: prompt.question_at])
    assert context.rstrip("\n").endswith("forty two.") and "Question" not in context


@pytest.mark.parametrize("name", TOKENIZERS)
def test_cut_prompts_keep_the_frame_and_both_ends(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    record = TaskRecord("a", "t", ARTICLE.context * 20, ARTICLE.question, ("x",))
    whole = prompt_ids(tokenizer, task(True), record, 4096).ids
    for length in (120, 121):
        prompt = prompt_ids(tokenizer, task(True), record, length)
        assert len(prompt.ids) == length - 3 and prompt.cut == len(whole) - len(prompt.ids)
        half = next(i for i, (a, b) in enumerate(zip(prompt.ids, whole, strict=False)) if a != b)
        assert prompt.ids[half:] == whole[len(whole) - len(prompt.ids) + half :]
        assert 40 < half < 90


@pytest.mark.parametrize("name", TOKENIZERS)
def test_gold_is_encoded_as_it_follows_the_prompt(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    gold = gold_ids(tokenizer, task(True, 50), ARTICLE)
    whole = prompts.framed_text(tokenizer, task(True), ARTICLE).text
    space = "" if name.startswith("bytes, ") and "chat" in name else " "
    together = tokenizer.encode(whole + space + "forty", add_special_tokens=False)
    before = tokenizer.encode(whole, add_special_tokens=False)
    assert together == before + gold
    assert tokenizer.decode(gold).strip() == "forty"


def test_gold_of_a_tokenizer_with_a_dummy_prefix_has_one_space() -> None:
    record = TaskRecord("a", "t", "Question: Who?\nType:", "", ("Person",))
    tokens = TOKENIZERS["pieces"].convert_ids_to_tokens(
        gold_ids(TOKENIZERS["pieces"], task(False, 50), record)
    )
    assert "".join(tokens) == "\u2581Person" and tokens[0] != "\u2581"


def test_gold_that_would_merge_with_the_prompts_last_id_is_encoded_alone() -> None:
    tokenizer = byte_level(begin=False)
    record = TaskRecord("a", "t", "Next line of code:\n", "", ("        return x",))
    prompt, gold = (
        prompt_ids(tokenizer, task(False), record, 99),
        gold_ids(tokenizer, task(False, 50), record),
    )
    together = tokenizer.encode("Next line of code:\n        return x")
    assert together[: len(prompt.ids)] != prompt.ids  # the newline merges with the indentation
    assert tokenizer.decode(prompt.ids + gold) == "Next line of code:\n        return x"


def test_a_template_that_prints_the_date_prints_one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    dated = byte_level(DATED)

    def ids() -> list[int]:
        return prompt_ids(dated, task(True), ARTICLE, 999).ids

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2031, 5, 6)

    today = ids()
    monkeypatch.setattr(template_utils, "datetime", Tomorrow)
    free = dated.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert "06 May 2031" in free  # the clock has moved
    assert ids() == today and "26 July 2024" in dated.decode(today)
    monkeypatch.setattr(chat_template, "TEMPLATE_DAY", datetime(2024, 7, 27))
    assert "27 July 2024" in dated.decode(ids())
    assert template_hash(dated) == template_hash(byte_level(DATED))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages[0]['content'] * 2 }}", "writes a user's message 2 times"),
        ("{{ '<' + messages[0]['content'] | upper + '>' }}", "record 'x': the model's chat"),
        ("<{{ messages[0]['content'] | replace('x', 'y') }}>", "record 'x': the model's chat"),
    ],
)
def test_a_template_that_changes_the_text_is_refused(template: str, words: str) -> None:
    record = TaskRecord("x", "t", "some x context", "", ("x",))
    with pytest.raises(PromptError, match=words):
        prompt_ids(byte_level(template), task(True), record, 999)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('no system role') }}", "TemplateError: no system role"),
        ("{% for m in messages %}", "cannot be rendered .TemplateSyntaxError"),
        ("{{ messages[0]['role'].nothing.more }}", "cannot be rendered .UndefinedError"),
        ({"rag": CHATML, "tool_use": CHATML}, "several chat templates .rag, tool_use. and none is"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused(template: Any, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        chat_frame(byte_level(template))
