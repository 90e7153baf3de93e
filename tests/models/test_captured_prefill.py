"""Chunks replayed as one graph: on the simulated card by recorded operations, on a card by CUDA."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from recorded_graph import RecordedGraph
from simulated_card import CARD, on_card, simulated_card
from tiny_plans import BLOCK, prompt, random_tiny_plan, tiny_model
from torch import Tensor

from ffbench.methods.plan import SparsePlan
from ffbench.models import captured_prefill
from ffbench.models.captured_prefill import CapturedPrefill, CaptureError
from ffbench.models.forward import with_cache
from ffbench.models.sparse_model import SparseModel
from ffbench.models.sparse_prefill import sparse_prefill

CHUNK = 2 * BLOCK
MAPPED = {"compensator": {"name": "surrogate", "output_map_rank": 4}}
PLANS: dict[str, dict[str, Any]] = {
    "mapped": MAPPED,
    "hot": MAPPED | {"hot_fraction": 0.5},
    "groups": MAPPED | {"group_size": 16},
    "low rank": MAPPED | {"selector": {"name": "trained_lowrank", "rank": 8}},
    "static": MAPPED | {"selector": "static", "first_dense": 0},
    "sorted": MAPPED | {"blocks": "sorted"},
    "lowrank": {"compensator": "lowrank", "first_dense": 5},
    "rsparse": {"compensator": "rsparse"},
}


@pytest.fixture(scope="module")
def cpu() -> Any:
    return tiny_model()


def static_cache(model: Any, tokens: int = 8 * BLOCK) -> Any:
    from transformers import StaticCache

    return StaticCache(config=model.config, max_cache_len=tokens)


@torch.no_grad()
def in_chunks(model: Any, plan: SparsePlan, ids: Tensor) -> tuple[Tensor, float]:
    """Logits of the last token and the density, chunk after chunk, on the CPU."""
    from transformers import DynamicCache

    cache = DynamicCache()
    with sparse_prefill(model, plan, "torch") as prefill:
        prefill.prompt_tokens = ids.shape[1]
        for part in ids.split(CHUNK, 1):
            logits = model(part, logits_to_keep=1, **with_cache(model, cache)).logits
    return logits, prefill.density


@contextmanager
def entered(model: Any, plan: SparsePlan, backend: str = "torch") -> Iterator[SparseModel]:
    """The model on the simulated card, running sparse."""
    with ExitStack() as stack:
        stack.enter_context(simulated_card())
        sparse = SparseModel(on_card(model), plan, backend)
        stack.enter_context(sparse.entered())
        yield sparse


@pytest.mark.parametrize("name", PLANS)
def test_replays_give_what_chunks_give(cpu: Any, name: str) -> None:
    plan = random_tiny_plan(cpu, **PLANS[name])
    prompts = [prompt(tokens, seed) for seed, tokens in enumerate((7 * BLOCK + 5, 6 * BLOCK, 40))]
    expected = [in_chunks(cpu, plan, ids) for ids in prompts]
    with entered(cpu, plan) as sparse:
        prefill = CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)
        graph = prefill.graph
        assert isinstance(graph, RecordedGraph) and prefill.prompt.total == 0
        for ids, (logits, density) in zip(prompts, expected, strict=True):
            prefill.prompt.used = prefill.prompt.total = 0
            got = prefill(ids.to(CARD))
            torch.testing.assert_close(got.cpu(), logits, atol=2e-5, rtol=1e-4)
            assert prefill.prompt.density == pytest.approx(density)
    # tokens 32 to 64 and 64 to 96 of the first prompt, 32 to 64 of the second
    assert graph.replays == (5 if plan.settings.first_dense == 0 else 3)


def test_the_cache_holds_the_last_prompt(cpu: Any) -> None:
    plan, ids = random_tiny_plan(cpu, **MAPPED), prompt(7 * BLOCK + 5)
    with entered(cpu, plan) as sparse:
        cache = static_cache(cpu)
        prefill = CapturedPrefill(sparse, cache, CHUNK, RecordedGraph)
        prefill(prompt(8 * BLOCK, 5).to(CARD))
        prefill(ids.to(CARD))
        assert int(cache.get_seq_length()) == ids.shape[1]
        keys = cache.layers[-1].keys.cpu()
        other = CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)
        other(ids.to(CARD))
        torch.testing.assert_close(keys, other.cache.layers[-1].keys.cpu())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"selector": "cats"}, "a token rule computes densely"),
        ({"selector": {"name": "griffin", "block": "previous"}}, "tokens of earlier chunks"),
        ({"scheduler": "per_block"}, "backend torch reads how many neurons each block keeps"),
        (MAPPED | {"blocks": "similar"}, "blocks=similar looks for similar tokens round by round"),
    ],
    ids=str,
)
def test_plans_that_cannot_be_captured(cpu: Any, changes: dict[str, Any], text: str) -> None:
    plan = random_tiny_plan(cpu, **changes)
    with entered(cpu, plan) as sparse, pytest.raises(CaptureError, match=text):
        CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)


def test_what_else_is_refused(cpu: Any) -> None:
    from transformers import DynamicCache

    plan = random_tiny_plan(cpu, **MAPPED)
    with entered(cpu, plan) as sparse:
        with pytest.raises(CaptureError, match="expected a model on a CUDA card, it is on meta"):
            CapturedPrefill(sparse, static_cache(cpu), CHUNK)
        for chunk in (0, 20):
            with pytest.raises(CaptureError, match=f"block_size 16, received {chunk}"):
                CapturedPrefill(sparse, static_cache(cpu), chunk, RecordedGraph)
        with pytest.raises(CaptureError, match="StaticCache"):
            CapturedPrefill(sparse, DynamicCache(config=cpu.config), CHUNK, RecordedGraph)
        with pytest.raises(CaptureError, match="room for a chunk of 32 tokens"):
            CapturedPrefill(sparse, static_cache(cpu, BLOCK), CHUNK, RecordedGraph)
        prefill = CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)
        for ids in (prompt(8 * BLOCK + 1), prompt(40).expand(2, -1)):
            with pytest.raises(ValueError, match="expected one prompt of 1 to 128 tokens"):
                prefill(ids.to(CARD))
    with pytest.raises(CaptureError, match="has left `entered`"):
        prefill(prompt(40).to(CARD))
    with simulated_card(), pytest.raises(CaptureError, match="does not run sparse"):
        CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)


def test_a_read_while_capturing_is_refused_and_leaves_the_model_usable(
    cpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_prefill, "plan_problem", lambda sparse: None)
    plan = random_tiny_plan(cpu, **MAPPED | {"blocks": "similar"})
    with entered(cpu, plan) as sparse:
        with pytest.raises(CaptureError, match="not permitted when stream is capturing"):
            CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)
        prefill = sparse.current
        assert prefill is not None and prefill.cached is None and prefill.total == 0
        sparse.model(prompt(70).to(CARD))
        assert prefill.total > 0


def test_short_prompts_are_not_replayed(cpu: Any) -> None:
    plan = replace(random_tiny_plan(cpu, **MAPPED), min_tokens=7 * BLOCK)
    with entered(cpu, plan) as sparse:
        prefill = CapturedPrefill(sparse, static_cache(cpu), CHUNK, RecordedGraph)
        assert [prefill.inside(32, tokens) for tokens in (6 * BLOCK, 7 * BLOCK)] == [False, True]
        assert [prefill.inside(start, 112) for start in (0, 32, 64, 96)] == [
            False,
            True,
            True,
            False,
        ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("scheduler", ["uniform", "per_block"])
def test_on_a_card(scheduler: str) -> None:
    model = tiny_model().cuda()
    plan = random_tiny_plan(model, **MAPPED | {"scheduler": scheduler})
    sparse = SparseModel(model, plan)
    with sparse.entered() as prefill:
        captured = CapturedPrefill(sparse, static_cache(model), CHUNK)
        for seed, tokens in enumerate((7 * BLOCK + 5, 8 * BLOCK, 40)):
            ids = prompt(tokens, seed).cuda()
            got = captured(ids)
            cache, prefill.prompt_tokens = static_cache(model), tokens
            with torch.no_grad():
                for part in ids.split(CHUNK, 1):
                    logits = model(part, logits_to_keep=1, **with_cache(model, cache)).logits
            torch.testing.assert_close(got, logits, atol=1e-3, rtol=1e-3)
