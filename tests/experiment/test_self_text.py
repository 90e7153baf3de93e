"""Text that a model writes itself: how documents begin and end, and what is refused."""

from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_tokenizers import CHATML, byte_level
from tiny_plans import tiny_model

from ffbench.experiment import self_text
from ffbench.experiment.self_text import BATCH, SelfText, beginnings, documents, drawn, end_tokens
from ffbench.models.errors import ModelError

WHAT = SelfText("hash", "name", seed=3, length=40)


class Scripted:
    """A model that goes on with the same ids in every row."""

    device = torch.device("cpu")
    generation_config = SimpleNamespace(eos_token_id=[2, 4])

    def __init__(self, *ids: int) -> None:
        self.ids = ids

    def generate(self, ids: Any, **_: Any) -> Any:
        return torch.cat([ids, torch.tensor([self.ids] * len(ids))], 1)


def test_documents_begin_as_the_tokenizer_and_the_template_say() -> None:
    tokenizer = byte_level(CHATML)
    starts = beginnings(tokenizer)
    assert starts["raw"] == [tokenizer.bos_token_id]
    assert tokenizer.decode(starts["chat"]) == "<|im_start|>user\n"
    assert beginnings(byte_level(begin=False)) == {"raw": [tokenizer.eos_token_id]}


def test_kinds_take_turns_and_a_chat_keeps_its_special_tokens() -> None:
    tokenizer = byte_level(CHATML)
    word = tokenizer.encode("word", add_special_tokens=False)
    found = list(islice(documents(Scripted(*word), tokenizer, WHAT), 2 * BATCH + 1))
    assert [one["kind"] for one in found] == ["raw"] * BATCH + ["chat"] * BATCH + ["raw"]
    assert found[0]["text"] == "word" and found[BATCH]["text"] == "<|im_start|>user\nword"
    rest = list(islice(documents(Scripted(*word), tokenizer, WHAT, BATCH + 3), BATCH))
    assert rest[: BATCH - 2] == found[BATCH + 3 :]


def test_an_end_token_ends_a_document_but_not_at_its_beginning() -> None:
    rows = drawn(Scripted(7, 8, 4, 4), [2], 9, [2, 4], seed=0)
    assert rows == [[2, 7, 8]] * BATCH


def test_draws_follow_the_seed_and_the_models_distribution() -> None:
    model = tiny_model()
    state = torch.random.get_rng_state()
    one, same, other = (drawn(model, [1], 33, [2], seed) for seed in (1, 1, 2))
    assert one == same and one != other
    assert torch.equal(torch.random.get_rng_state(), state)
    # 16 x 32 draws of a nearly uniform distribution over 259 ids: about 224 differ
    assert len({token for row in one for token in row}) > 150
    assert max(map(len, one)) <= 33


def test_tokenizers_without_a_beginning_or_an_end_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(self_text, "special_head", lambda tokenizer: [])
    nothing = SimpleNamespace(bos_token_id=None, eos_token_id=None, chat_template=None)
    with pytest.raises(ModelError, match="neither a begin nor an end token"):
        beginnings(nothing)
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=None))
    with pytest.raises(
        ModelError, match="neither its generation settings nor its tokenizer has an end token"
    ):
        end_tokens(model, nothing)
    assert end_tokens(model, SimpleNamespace(eos_token_id=5)) == [5]
