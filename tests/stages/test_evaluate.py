"""Answers of a tiny model: stop rules, and the gold answer's likelihood against one forward pass."""

import pytest
import torch

from ffbench.models.loading import ModelSpec, load_model
from ffbench.stages.evaluate import Ending, answer, greedy
from ffbench.stages.prompts import gold_ids, prompt_ids
from ffbench.tasks.registry import TaskRecord, TaskSpec

RECORD = TaskRecord("r", "t", "The cat sat on the mat. " * 9, "Who sat?", ("cat",))


def spec(stop: str = "end") -> TaskSpec:
    return TaskSpec("t", "c", "m", 12, lambda part, limit: [], lambda text, record: float(len(text)),
                    lambda records: None, stop=stop)


@pytest.fixture(scope="module")
def tiny() -> tuple:
    return load_model(ModelSpec("tiny", "tiny", "llama"))


def test_answer_equals_generate_and_one_forward_pass(tiny: tuple) -> None:
    model, tokenizer = tiny
    found = answer(model, tokenizer, None, spec(), RECORD, 512, "auto")
    prompt, gold = prompt_ids(tokenizer, spec(), RECORD, 512).ids, gold_ids(tokenizer, spec(), RECORD)
    assert prompt[0] == tokenizer.bos_token_id and prompt.count(1) == 1
    out = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt):]
    assert found["prediction"] == tokenizer.decode(out)
    rows = model(torch.tensor([prompt + gold])).logits[0, len(prompt) - 1:-1]
    assert found["nll"] == pytest.approx(float(torch.nn.functional.cross_entropy(rows, torch.tensor(gold))), abs=1e-5)


def test_stop_ids_are_held_back_for_the_least_number_of_tokens(tiny: tuple) -> None:
    model, tokenizer = tiny
    out = model(torch.tensor([tokenizer.encode("abc")]), use_cache=True)
    best = out.logits[0, -1].topk(2).indices.tolist()
    assert greedy(model, out.logits[0, -1], out.past_key_values, Ending({best[0]}, 4, 0, lambda ids: False)) == []
    kept = greedy(model, out.logits[0, -1], out.past_key_values, Ending({best[0]}, 4, 1, lambda ids: False))
    assert kept[0] == best[1]
    assert best[0] not in kept
