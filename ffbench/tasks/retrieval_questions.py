"""Embedded retrieval prompts with contexts of a wanted number of tokens, and their gold answers."""

from dataclasses import dataclass, replace
from typing import Any

from ffbench.data.encoding import encode, encode_with_boundaries, special_head
from ffbench.tasks.base import TaskError
from ffbench.tasks.embedded import LABELS, labelled, passages, seeded


@dataclass(frozen=True)
class Question:
    """Ids of one retrieval prompt: context (begin token included), question, and gold answer."""

    name: str
    context: list[int]
    question: list[int]
    gold: list[int]


def cut_context(
    tokenizer: Any, texts: list[str], labels: list[str], target: int, tokens: int
) -> tuple[Question, int] | None:
    """The question for passage `target` after the last `tokens` ids of the labelled passages, and
    the first passage that is whole in them; None if the passages have fewer ids.
    """
    context = labelled(texts, labels)
    question = f"\n\n{texts[target]} [label:"
    starts = [len(labelled(texts[:i], labels[:i])) for i in range(len(texts))]
    ends = [len(context), len(context) + len(question)]
    ids, at = encode_with_boundaries(
        tokenizer, context + question + f" {labels[target]}", [*starts, *ends]
    )
    head = special_head(tokenizer)
    context_end, question_end = at[-2:]
    cut = context_end - (tokens - len(head))
    if cut < 0:
        return None
    whole = next((i for i, start in enumerate(at[:-2]) if start >= cut), len(texts))
    return (
        Question(
            "",
            head + ids[cut:context_end],
            ids[context_end:question_end],
            ids[question_end:],
        ),
        whole,
    )


def one_question(
    tokenizer: Any, name: str, others: list[str], target: str, tokens: int, least: int
) -> Question:
    """A question about `target` among the first passages of `others`, `least` or more in all."""
    generator = seeded(name)
    labels = generator.sample(LABELS, len(LABELS))
    for count in range(max(2, least), min(len(LABELS), len(others) + 1) + 1):
        # The target is last while the context grows, and is then moved to its place.
        texts = [*others[: count - 1], target]
        grown = cut_context(tokenizer, texts, labels[:count], count - 1, tokens)
        if grown is None:
            continue
        place = generator.randrange(min(grown[1], count - 1), count)
        texts[place], texts[-1] = texts[-1], texts[place]
        placed = cut_context(tokenizer, texts, labels[:count], place, tokens)
        if placed is not None and placed[1] <= place:
            return replace(placed[0], name=name)
    raise TaskError(
        f"retrieval questions: {len(others) + 1} passages with {len(LABELS)} labels do not fill a "
        f"context of {tokens} tokens; choose a shorter one"
    )


def retrieval_questions(
    tokenizer: Any, part: str, *, context_tokens: int, count: int
) -> list[Question]:
    """At most `count` questions, each about another passage of an embedded part.

    The context has `context_tokens` ids: labelled passages, the first of which may be cut; one of
    them again and the word for its label make the question. A model that reads the context answers
    with the label. Raises TaskError if the passages do not fill the context, and ValueError for an
    unknown part.
    """
    pool = passages(part)
    targets = list(pool)
    seeded("targets", part).shuffle(targets)
    longest = max(len(encode(tokenizer, labelled([text], ["x"]))) for text in targets[:count])
    questions = []
    for number, target in enumerate(targets[:count]):
        name = f"retrieval-{part}-{number}"
        others = [text for text in pool if text != target]
        seeded("others", name).shuffle(others)
        least = context_tokens // longest
        questions.append(one_question(tokenizer, name, others, target, context_tokens, least))
    return questions
