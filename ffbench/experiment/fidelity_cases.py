"""The prompts and tails of a run's fidelity, from held-out or test text."""

from typing import Any

import torch

from ffbench.data.embedded_text import KINDS
from ffbench.data.windows import document_windows
from ffbench.evaluation.fidelity import QUESTION, Case, Tail, text_case
from ffbench.settings import FidelitySettings
from ffbench.tasks.retrieval_questions import retrieval_questions

RETRIEVAL = "retrieval"


def question_cases(tokenizer: Any, part: str, context: int, count: int) -> list[Case]:
    """Retrieval questions whose whole prompt is the context and the question; gold answers."""
    cases = []
    for q in retrieval_questions(tokenizer, part, context_tokens=context, count=count):
        tail = Tail(torch.tensor(q.gold), from_prompt=True)
        prompt = torch.tensor([*q.context, *q.question])
        cases.append(Case(RETRIEVAL, q.name, context, prompt, {QUESTION: tail}))
    return cases


def fidelity_cases(f: FidelitySettings, tokenizer: Any) -> list[Case]:
    """Every case of a run: per context and text one window per document, and questions."""
    cases = []
    for number, context in enumerate(f.contexts):
        length = context + f.tail + 1
        for kind in KINDS:
            windows = document_windows(tokenizer, kind, f.part, length=length, count=f.windows)
            for i, (name, ids) in enumerate(windows):
                cases.append(
                    text_case(
                        kind,
                        name,
                        torch.tensor(ids),
                        context,
                        f.tails,
                        judges_prompt=number == 0 and i < f.prompt_windows,
                    )
                )
        if QUESTION in f.tails:
            cases += question_cases(tokenizer, f.part, context, f.windows)
    return [case for case in cases if case.tails]
