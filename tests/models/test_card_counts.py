"""How many operations and reads one layer of a sparse prefill costs on a card."""

from typing import Any

import pytest
import torch
from card_counts import Counts, watched
from simulated_card import CARD, on_card, simulated_card
from tiny_plans import prompt, random_tiny_plan, tiny_model

from ffbench.methods.block_counts import RULES
from ffbench.models.sparse_prefill import sparse_prefill

MAPPED = {"compensator": {"name": "surrogate", "output_map_rank": 4}}
# Operations that launch work per layer, at most, whatever the number of blocks. The dense FFN of a
# prompt's ends is 5 of them (three products, activation, product of both halves) and 2 copies; the
# kernel is counted as one and launches two or three times itself.
CEILING: dict[str, tuple[dict[str, Any], int]] = {
    "the main job's plan": (MAPPED, 12),
    "hot neurons": (MAPPED | {"hot_fraction": 0.5}, 12),
    "groups": (MAPPED | {"group_size": 16}, 12),
    "a low-rank predictor": (MAPPED | {"selector": {"name": "trained_lowrank", "rank": 8}}, 13),
    "one static set": (MAPPED | {"selector": "static"}, 11),
    "a map of the output alone": ({"compensator": "lowrank"}, 12),
    "no compensator": ({"compensator": "none"}, 11),
}


@pytest.fixture(scope="module")
def cpu() -> Any:
    return tiny_model()


@torch.no_grad()
def counted(cpu: Any, changes: dict[str, Any], *ids: torch.Tensor) -> tuple[Counts, Counts, int]:
    """Counts inside and outside of the FFNs over passes on prompts, and the layers of all passes."""
    plan, model = random_tiny_plan(cpu, **changes), on_card(cpu)
    with simulated_card(), sparse_prefill(model, plan, "torch"):
        prompts = [(one.to(CARD), torch.ones_like(one).to(CARD)) for one in ids]
        with watched(model) as counts:
            for one, mask in prompts:
                model(one, attention_mask=mask, logits_to_keep=1)
        inside, outside = counts()
    return inside, outside, len(plan.layers) * len(ids)


@pytest.mark.parametrize("name", CEILING)
@pytest.mark.parametrize("tokens", [128, 133, 517])
def test_a_layer_stays_below_its_ceiling_and_reads_nothing(
    cpu: Any, name: str, tokens: int
) -> None:
    changes, ceiling = CEILING[name]
    inside, _, layers = counted(cpu, changes, prompt(tokens))
    assert sum(inside.launches.values()) <= ceiling * layers, inside.launches
    assert not inside.reads and not inside.uploads


def test_there_is_no_operation_per_block(cpu: Any) -> None:
    short, long = (counted(cpu, MAPPED, prompt(tokens))[0] for tokens in (133, 1029))
    assert short.launches == long.launches and "arange" not in long.launches


def test_the_weights_and_the_predictor_are_not_cast(cpu: Any) -> None:
    inside, _, _ = counted(cpu, MAPPED, prompt(133))
    assert "_to_copy" not in inside.launches and "copy_" not in inside.launches


def test_a_pass_reads_the_mask_once(cpu: Any) -> None:
    """transformers reads it once more."""
    _, outside, _ = counted(cpu, MAPPED, prompt(133))
    assert outside.reads["_to_copy"] <= 1 and sum(outside.reads.values()) <= 2


def test_padding_does_not_add_reads(cpu: Any) -> None:
    plan, model = random_tiny_plan(cpu, **MAPPED), on_card(cpu)
    ids = torch.cat([prompt(90, seed) for seed in range(3)])
    mask = torch.ones_like(ids)
    mask[0, :7], mask[1, 80:] = 0, 0
    with torch.no_grad(), simulated_card(), sparse_prefill(model, plan, "torch"):
        given = {"input_ids": ids.to(CARD), "attention_mask": mask.to(CARD)}
        with watched(model) as counts:
            model(**given)
        inside, outside = counts()
    assert not inside.reads and outside.reads["_to_copy"] == 1 and not outside.reads["nonzero"]


# launches per layer as counted when the counts came onto the card; not to get worse
SHARED_OUT = {"mass": 124, "energy": 118, "whole": 50}
SORTING = 18  # more for blocks of sorted tokens


def test_each_rule_has_a_ceiling() -> None:
    assert set(SHARED_OUT) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tokens", [128, 133, 517])
@pytest.mark.parametrize("blocks", ["consecutive", "sorted"])
def test_a_number_of_neurons_per_block_is_not_read(
    cpu: Any, rule: str, tokens: int, blocks: str
) -> None:
    changes = MAPPED | {"scheduler": {"name": "per_block", "rule": rule}, "blocks": blocks}
    inside, _, layers = counted(cpu, changes, prompt(tokens))
    assert not inside.reads and not inside.uploads, (inside.reads, inside.uploads)
    ceiling = SHARED_OUT[rule] + SORTING * (blocks == "sorted")
    assert sum(inside.launches.values()) <= ceiling * layers, inside.launches


def test_sorted_blocks_are_not_read(cpu: Any, caplog: pytest.LogCaptureFixture) -> None:
    inside, _, layers = counted(cpu, MAPPED | {"blocks": "sorted"}, prompt(133))
    assert "makes the host wait" not in caplog.text
    assert not inside.reads and not inside.uploads, (inside.reads, inside.uploads)
    assert sum(inside.launches.values()) <= 50 * layers, inside.launches


@pytest.mark.parametrize(
    ("changes", "launches", "reads"),
    [
        (MAPPED | {"blocks": "similar"}, 180, 18),
        ({"compensator": "rsparse", "scheduler": "per_block"}, 145, 18),
    ],
    ids=["similar tokens", "a compensator that looks at each block's neurons"],
)
def test_plans_that_still_read(
    cpu: Any, changes: Any, launches: int, reads: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Known, documented and reported; not to get worse. At this length (133 tokens, 32 dense)."""
    inside, _, layers = counted(cpu, changes, prompt(133))
    assert sum(inside.launches.values()) <= launches * layers, inside.launches
    assert 0 < sum(inside.reads.values()) <= reads * layers, inside.reads
    assert caplog.text.count("prefill makes the host wait for the card in every layer") == 1


def test_the_counter_sees_reads_and_uploads() -> None:
    from card_counts import Watch

    with simulated_card():
        card = torch.ones(3, device=CARD)
        with Watch() as watch:
            assert card.sum().item() == 3 and bool((card > 0).all())
            card.tolist()
            card[card > 0]
            card[0] = torch.tensor(2.0)
            torch.ones(2).to(CARD)
            card.view(3, 1)
        seen = watch.outside
    assert seen.reads == {"_local_scalar_dense": 2, "_to_copy": 1, "index": 1}
    assert seen.uploads == {"copy_": 1, "_to_copy": 1}
    assert "view" not in seen.launches and seen.launches["sum"] == 1
