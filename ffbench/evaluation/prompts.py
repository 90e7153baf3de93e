"""From a task record to the token ids that a model reads."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ffbench.data.encoding import encode, encode_with_boundaries, special_head
from ffbench.tasks.base import TaskRecord, TaskSpec

MARK = "FFBENCH-USER-TEXT"
# Templates that print a date (Llama 3, SmolLM3, Granite, Mistral Small) must print the same one
# every day, or the dense answers of one day would meet the sparse ones of another. It is the date
# that Llama 3.1's template takes by default.
TEMPLATE_DAY = datetime(2024, 7, 26)


class PromptError(ValueError):
    """A prompt cannot be made; the message names the setting."""


# What every template is rendered with: thinking off, and the date that Llama 3's templates take.
TEMPLATE_VALUES = {"enable_thinking": False, "date_string": TEMPLATE_DAY.strftime("%d %b %Y")}


class StoppedClock(datetime):
    """A clock that always shows TEMPLATE_DAY."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """TEMPLATE_DAY, whatever the time zone."""
        return TEMPLATE_DAY


@contextmanager
def stopped_clock() -> Iterator[None]:
    """Let chat templates that call `strftime_now` read TEMPLATE_DAY.

    transformers offers no way to pass the clock: it turns functions among a template's values into
    text. So the `datetime` that its `strftime_now` reads is replaced meanwhile.
    """
    from transformers.utils import chat_template_utils

    templates: Any = chat_template_utils
    running = templates.datetime
    templates.datetime = StoppedClock
    try:
        yield
    finally:
        templates.datetime = running


@dataclass(frozen=True)
class PromptIds:
    """A prompt as token ids; `question_at` is the first id of the question, `cut` how many ids the
    middle lost.
    """

    ids: list[int]
    question_at: int
    cut: int


@dataclass(frozen=True, kw_only=True)
class FramedText:
    """A prompt as text: `head` ids (a begin token), then `text`, in which the prompt proper is
    text[start:end] and its question begins at `question`; the rest is the chat template's frame.
    """

    head: list[int]
    text: str
    start: int
    question: int
    end: int


def rendered(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    """Text of the chat template for some messages. Raises PromptError if it cannot be rendered."""
    try:
        with stopped_clock():
            text: str = tokenizer.apply_chat_template(
                messages, tokenize=False, **TEMPLATE_VALUES, **options
            )
    except Exception as error:  # a template is code: Jinja's errors, those it raises, ...
        raise PromptError(template_problem(tokenizer, error)) from error
    return text


def template_problem(tokenizer: Any, error: Exception) -> str:
    """Why the chat template cannot be rendered, and what to do."""
    templates = tokenizer.chat_template
    if isinstance(templates, dict) and "default" not in templates:
        return (
            f"model: its tokenizer has several chat templates ({', '.join(templates)}) and none is "
            "called 'default'; name one of them so in the model's folder"
        )
    detail = " ".join(str(error).split())
    return (
        f"model: its chat template cannot be rendered ({type(error).__name__}: {detail}); use "
        "another tokenizer, or correct the template in the model's folder"
    )


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer carries a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def uses_template(tokenizer: Any, spec: TaskSpec) -> bool:
    """Whether the prompts of a task get the chat template."""
    return spec.chat and has_template(tokenizer)


def user_turn(tokenizer: Any, text: str) -> str:
    """A user's message and the opening of the answer, as the chat template writes them."""
    return rendered(tokenizer, [{"role": "user", "content": text}], add_generation_prompt=True)


def chat_frame(tokenizer: Any) -> tuple[str, str]:
    """Text that the chat template puts before and after a user's message, special tokens included.

    Raises PromptError if the template does not write the message exactly once.
    """
    parts = user_turn(tokenizer, MARK).split(MARK)
    if len(parts) != 2:
        raise PromptError(
            f"model: its chat template writes a user's message {len(parts) - 1} times, once was "
            "expected; use another tokenizer, or tasks without a chat template"
        )
    return parts[0], parts[1]


def answer_gap(tokenizer: Any) -> str:
    """White space that the chat template puts between the opening of an answer and its text.

    Mistral's templates end a question with [/INST] and begin the answer with a space.
    """
    opened = user_turn(tokenizer, "x")
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": MARK}]
    answered = rendered(tokenizer, messages).split(MARK)[0]
    gap = answered[len(opened) :] if answered.startswith(opened) else ""
    return "" if gap.strip() else gap


def template_hash(tokenizer: Any) -> str | None:
    """First 16 hex digits of the SHA-256 of the chat template; None without one."""
    if not has_template(tokenizer):
        return None
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16]


def frame_hash(tokenizer: Any) -> str:
    """First 16 hex digits of the SHA-256 of what surrounds every prompt: the rendered frame of the
    chat template (if there is one) and the begin token's ids. Part of what names prompts.
    """
    frame: list[Any] = [special_head(tokenizer)]
    if has_template(tokenizer):
        frame += [*chat_frame(tokenizer), answer_gap(tokenizer)]
    return hashlib.sha256(json.dumps(frame).encode()).hexdigest()[:16]


def prompt_text(record: TaskRecord) -> str:
    """A record's prompt without a frame, the answer's prefix at its end."""
    space = " " if record.answer_prefix else ""
    return record.context + record.question + space + record.answer_prefix


def framed_text(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> FramedText:
    """A record's prompt as text, with the chat template around it if its task uses one, and the
    record's `answer_prefix` at the end: the answer begins with it.

    The tokenizer's own begin token goes before a prompt without a template only. Raises PromptError
    for a template that changes the text by more than stripping it.
    """
    text = record.context + record.question
    if not uses_template(tokenizer, spec):
        return FramedText(
            head=special_head(tokenizer),
            text=prompt_text(record),
            start=0,
            question=len(record.context),
            end=len(text),
        )
    before, after = chat_frame(tokenizer)
    whole = user_turn(tokenizer, text)
    start, end = len(before), len(whole) - len(after)
    inner = whole[start:end]
    if not whole.startswith(before) or not whole.endswith(after) or inner.strip() != text.strip():
        raise PromptError(
            f"{spec.name}, record {record.record_id!r}: the model's chat template changes the text "
            "of the prompt; use another tokenizer"
        )
    stripped = len(inner.lstrip()) - len(inner) + len(text) - len(text.lstrip())
    question = min(max(start + len(record.context) - stripped, start), end)
    if record.answer_prefix:
        whole += answer_gap(tokenizer) + record.answer_prefix
    return FramedText(head=[], text=whole, start=start, question=question, end=end)


def cut_to_fit(
    tokenizer: Any, framed: FramedText, room: int, *, setting: str, answer: str
) -> PromptIds:
    """Ids of a prompt, at most `room` with its frame: encoded as a whole, then the middle of the
    prompt proper is left out (its first and last half stay).

    Raises PromptError, naming `setting` ("task.max_length=100") and the `answer` that needs the
    rest, if the frame leaves no room.
    """
    ids, (start, question, end) = encode_with_boundaries(
        tokenizer, framed.text, (framed.start, framed.question, framed.end)
    )
    before, after = framed.head + ids[:start], ids[end:]
    inner = room - len(before) - len(after)
    if inner < 2:
        name, _, value = setting.partition("=")
        raise PromptError(
            f"{setting}: {answer} leaves {max(inner, 0)} tokens for the prompt; set {name} to "
            f"{int(value) - inner + 2} or more"
        )
    return cut_middle(before, ids[start:end], after, inner, question - start)


def prompt_size(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> int:
    """Tokens of a record's prompt with its frame, before any cut."""
    framed = framed_text(tokenizer, spec, record)
    return len(framed.head) + len(encode(tokenizer, framed.text))


def prompt_ids(tokenizer: Any, spec: TaskSpec, record: TaskRecord, max_length: int) -> PromptIds:
    """Ids of a prompt with `spec.max_new_tokens` left of `max_length` for the answer.

    Without a cut they are those of `apply_chat_template(tokenize=True)`, or of the tokenizer itself
    for a task without a template. Raises PromptError if the frame leaves no room.
    """
    return cut_to_fit(
        tokenizer,
        framed_text(tokenizer, spec, record),
        max_length - spec.max_new_tokens,
        setting=f"task.max_length={max_length}",
        answer=f"{spec.name} answers with up to {spec.max_new_tokens} tokens, which",
    )


def cut_middle(
    before: list[int], ids: list[int], after: list[int], room: int, question: int
) -> PromptIds:
    """The frame around at most `room` of `ids`: the first and the last half stay; `question` is
    where it begins in them.
    """
    cut = max(0, len(ids) - room)
    if cut:
        half = room // 2
        ids = ids[:half] + ids[half + cut :]
        question = min(question, max(half, question - cut))
    return PromptIds(before + ids + after, len(before) + question, cut)


def continuation_ids(tokenizer: Any, before: str, text: str) -> list[int]:
    """Ids of `text` as they follow the ids of `before`.

    Both are encoded as a whole. If an id would cross from one into the other (a newline and the
    indentation after it), `text` is encoded by itself, without a dummy prefix.
    """
    ids, (at,) = encode_with_boundaries(tokenizer, before + text, [len(before)])
    if ids[:at] == encode(tokenizer, before):
        return ids[at:]
    anchored, (at,) = encode_with_boundaries(tokenizer, "\n" + text, [1])
    if anchored[:at] == encode(tokenizer, "\n"):
        return anchored[at:]
    return encode(tokenizer, text)


def gold_text(record: TaskRecord) -> str:
    """The answer whose likelihood is measured: the record's `gold`, else its first answer that is
    not empty.
    """
    return record.gold or next(answer for answer in record.answers if answer.strip())


def gold_ids(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> list[int]:
    """Ids of `gold_text` as they follow the prompt, at most `spec.max_new_tokens`.

    A raw prompt or an answer's prefix that ends in an ASCII letter or mark is continued with a
    space, as few-shot examples are; after a chat template the answer begins as the template writes
    answers.
    """
    gold = gold_text(record)
    if uses_template(tokenizer, spec) and not record.answer_prefix:
        space = answer_gap(tokenizer)
    else:
        last = prompt_text(record)[-1:]
        space = " " if last.isascii() and last.strip() else ""
    if gold[0].isspace():
        space = ""
    framed = framed_text(tokenizer, spec, record)
    return continuation_ids(tokenizer, framed.text, space + gold)[: spec.max_new_tokens]


def turn_end(tokenizer: Any) -> set[int]:
    """The first special token that the chat template puts after an assistant's answer."""
    if not has_template(tokenizer):
        return set()
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": MARK}]
    after = rendered(tokenizer, messages).split(MARK)[-1]
    special = set(tokenizer.all_special_ids)
    return set([i for i in encode(tokenizer, after) if i in special][:1])


def stop_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every end token: of the generation settings, the model, the tokenizer and the chat template's
    turns.
    """
    ids = turn_end(tokenizer)
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    return ids
