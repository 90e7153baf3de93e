"""What a tokenizer's chat template writes around a message, the same on every day."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from ffbench.data.encoding import encode

MARK = "FFBENCH-USER-TEXT"
# Templates that print a date (Llama 3, SmolLM3, Granite, Mistral Small) must print the same one
# every day, or the dense answers of one day would meet the sparse ones of another. It is the date
# that Llama 3.1's template takes by default.
TEMPLATE_DAY = datetime(2024, 7, 26)
# What every template is rendered with: thinking off, and the date that Llama 3's templates take.
TEMPLATE_VALUES = {"enable_thinking": False, "date_string": TEMPLATE_DAY.strftime("%d %b %Y")}


class PromptError(ValueError):
    """A prompt cannot be made; the message names the setting."""


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


def turn_end(tokenizer: Any) -> set[int]:
    """The first special token that the chat template puts after an assistant's answer."""
    if not has_template(tokenizer):
        return set()
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": MARK}]
    after = rendered(tokenizer, messages).split(MARK)[-1]
    special = set(tokenizer.all_special_ids)
    return set([i for i in encode(tokenizer, after) if i in special][:1])
