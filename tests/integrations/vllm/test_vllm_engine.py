"""The plugin in vLLM itself, against vLLM without it and against the Hugging Face path.

`make test-vllm` runs these in an environment of their own. Each engine is a process of its own and
takes about a minute on two cores.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm_cases import BLOCK, NEEDS_VLLM, NEW_TOKENS, prompts, run, saved_model, saved_plan

pytestmark = NEEDS_VLLM
# Of a log-probability: float32 through two layers with sums of up to 1504 products in another
# order. 1504 roundings of 2**-24 are 9e-5 of a logit's terms, which are below 20 here.
TOLERANCE = 2e-3


def engine(
    model: Path, batches: Any, plan: Path | None = None, **options: Any
) -> tuple[list[Any], str]:
    given = {"additional_config": {"ffbench_plan": str(plan)}} if plan else {}
    return run("engine", model=str(model), batches=batches, options=given | options)


def hugging_face(model: Path, plan: Path, batches: Any, ranks: int = 1) -> list[Any]:
    found: list[Any] = run(
        "hugging_face", model=str(model), plan=str(plan), batches=batches, ranks=ranks
    )[0]
    return found


def tokens(answers: list[Any]) -> list[list[int]]:
    return [[token for token, _ in answer] for answer in answers]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert tokens(found) == tokens(expected)
    for one, other in zip(found, expected, strict=True):
        values = [[value for _, value in answer] for answer in (one, other)]
        torch.testing.assert_close(
            torch.tensor(values[0]), torch.tensor(values[1]), rtol=0, atol=TOLERANCE
        )


@pytest.fixture(scope="module")
def dense(llama: Path) -> list[Any]:
    """Tokens of vLLM without a plan, with the plugin installed."""
    answers, text = engine(llama, [prompts()])
    assert "ffbench:" not in text
    return answers


@pytest.fixture(scope="module")
def sparse(folder: Path, llama: Path) -> list[Any]:
    return hugging_face(llama, saved_plan(folder, llama, 0.5), [prompts()])


def test_density_one_is_vllm_token_for_token(folder: Path, llama: Path, dense: list[Any]) -> None:
    answers, text = engine(llama, [prompts()], saved_plan(folder, llama, 0.0))
    assert_same(answers, dense)
    assert "ffbench: density 1.000" in text


def test_chunks_mixed_batches_and_cached_prefixes_equal_the_hugging_face_path(
    folder: Path, llama: Path, dense: list[Any], sparse: list[Any]
) -> None:
    plan = saved_plan(folder, llama, 0.5)
    first, *others = prompts()
    # mixed: 1024 + [480, 64, 480] + [decode, decode, 128]; then alone; then from the cache
    answers, text = engine(llama, [[first, *others], [first], [first]], plan)
    assert_same(answers[:3], sparse)
    assert_same(answers[3:], [sparse[0], sparse[0]])
    assert tokens(sparse)[0] != tokens(dense)[0] and tokens(sparse)[2] != tokens(dense)[2]
    assert tokens(sparse)[1] == tokens(dense)[1]  # shorter than its dense ends
    density = re.search(r"ffbench: density (0\.\d+) of the FFN over (\d+) prompt tokens", text)
    assert density and int(density[2]) == 1024
    assert float(density[1]) == pytest.approx((1024 - 992 / 2) / 1024, abs=1e-3)


def test_compiled_equals_the_hugging_face_path(
    folder: Path, llama: Path, sparse: list[Any]
) -> None:
    plan = saved_plan(folder, llama, 0.5)
    answers, text = engine(llama, [prompts()], plan, enforce_eager=False)
    assert_same(answers, sparse)
    # the warm-up pass is dense and counts nowhere: the first pass with a prompt had 1024 tokens
    assert "Warming up model" in text
    assert re.search(r"ffbench: density 0\.\d+ of the FFN over 1024 prompt tokens", text)


@pytest.mark.parametrize("eager", [True, False])
def test_decoding_runs_in_vllms_own_mlp(folder: Path, llama: Path, eager: bool) -> None:
    given = {"ffbench_plan": str(saved_plan(folder, llama, 0.5))}
    options = {"additional_config": given, "enforce_eager": eager}
    found, _ = run("paths", model=str(llama), prompts=prompts()[:1], options=options)
    # on one thread the kernel has rows enough for the dense ends: a block, and 40 rows
    chunks = [["sparse", 1024 - BLOCK], ["dense", BLOCK]] * 2
    chunks += [["sparse", 480 - 40], ["dense", 40]] * 2
    assert found["calls"] == chunks + [["module", 1]] * 2 * (NEW_TOKENS - 1)
    assert found["unpacked"] == [True]


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_other_families_equal_the_hugging_face_path(folder: Path, family: str) -> None:
    model = saved_model(folder, family)
    plan = saved_plan(folder, model, 0.5)
    answers, _ = engine(model, [prompts()], plan)
    assert_same(answers, hugging_face(model, plan, [prompts()]))


def test_two_ranks_equal_the_sum_of_their_parts(folder: Path, llama: Path) -> None:
    plan = saved_plan(folder, llama, 0.5)
    answers, _ = engine(llama, [prompts()], plan, tensor_parallel_size=2)
    assert_same(answers, hugging_face(llama, plan, [prompts()], ranks=2))
