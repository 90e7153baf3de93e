"""Why a server with a plan does not start."""

from typing import Any

import pytest

from ffbench.integrations.vllm.refusals import (
    Options,
    ServerFacts,
    options_of,
    problems_of,
)
from ffbench.methods.plan import SparsePlan
from ffbench.methods.plan_files import plan_settings
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.random_models import random_plan

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "intermediate_size": 160,
    "hidden_size": 64,
    "hidden_act": "silu",
}


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]


def plan_for(model: Any, **changed: Any) -> SparsePlan:
    methods = {"selector": "trained", "compensator": "surrogate", "scheduler": "uniform"}
    node: dict[str, Any] = {name: {"name": method} for name, method in methods.items()}
    return random_plan(model, plan_settings(node | {"block_size": 8, "sparsity": 0.5} | changed))


def facts(**changed: Any) -> ServerFacts:
    values = {"architecture": "LlamaForCausalLM", "config": CONFIG, "platform": "cpu"}
    return ServerFacts(**(values | changed))


def test_a_covered_server_has_no_problems(model: Any) -> None:
    plan = plan_for(model)
    assert problems_of(facts(), plan) == []
    assert problems_of(facts(tensor_parallel=2, kv_block=128, platform="cuda"), plan) == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"architecture": "GemmaForCausalLM"}, "GemmaForCausalLM is not covered; covered: Llama"),
        ({"config": CONFIG | {"intermediate_size": 192}}, "160 neurons per layer, the model 192"),
        ({"config": CONFIG | {"num_hidden_layers": 3}}, "2 layers, the model 3"),
        ({"config": CONFIG | {"mlp_bias": True}}, "mlp_bias"),
        ({"quantization": "awq"}, r"quantised \(awq\)"),
        ({"config": CONFIG | {"quantization_config": {"quant_method": "gptq"}}}, "gptq"),
        ({"platform": "tpu"}, "platform 'tpu' is not covered; covered: cpu, cuda"),
        ({"load_format": "dummy"}, "load_format 'dummy' is not covered"),
        ({"custom_worker": "my.Worker"}, "leave --worker-cls out"),
        ({"graphs": True}, "CUDA graphs are not covered; add --enforce-eager"),
        ({"uncovered": ("LoRA (--enable-lora)",)}, "LoRA .* is not covered together with a plan"),
        ({"kv_block": 12}, "block_size 12: .* choose a multiple of 8"),
        ({"tensor_parallel": 3}, "tensor_parallel_size 3 does not divide"),
    ],
)
def test_servers_that_are_refused(model: Any, changed: dict[str, Any], text: str) -> None:
    problems = problems_of(facts(**changed), plan_for(model))
    assert len(problems) == 1
    with pytest.raises(ValueError, match=text):
        raise ValueError(problems[0])


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"selector": {"name": "griffin"}}, "'griffin' reads earlier tokens"),
        ({"selector": {"name": "griffin", "block": "previous"}}, "'griffin' reads earlier tokens"),
        ({"selector": {"name": "cats"}, "compensator": {"name": "none"}}, "token by token"),
        ({"blocks": "similar"}, "blocks 'similar' are made of a whole prompt's tokens"),
        ({"blocks": "sorted"}, "blocks 'sorted' are made of a whole prompt's tokens"),
        ({"scheduler": {"name": "per_block"}}, "'per_block' shares neurons among all blocks"),
    ],
)
def test_plans_that_need_a_whole_prompt_are_refused(
    model: Any, changed: dict[str, Any], text: str
) -> None:
    problems = problems_of(facts(), plan_for(model, **changed))
    assert len(problems) == 1 and text in problems[0]


def test_all_problems_are_told_at_once(model: Any) -> None:
    plan = plan_for(model, selector={"name": "griffin"}, blocks="similar")
    bad = facts(quantization="awq", platform="tpu", tensor_parallel=3)
    assert len(problems_of(bad, plan)) == 5


def test_options() -> None:
    assert options_of({}) == options_of({"other": 1}) == options_of(None) == (None, [])
    assert options_of({"ffbench_plan": "p"}) == (Options("p", "auto", None), [])
    given = {"ffbench_plan": "p", "ffbench_kernel": "torch", "ffbench_model_name": "m"}
    assert options_of(given)[0] == Options("p", "torch", "m")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ffbench_paln": "p"}, "ffbench_paln"),
        ({"ffbench_plan": 3}, "expected a text, received 3"),
        ({"ffbench_plan": ""}, "expected a text"),
        ({"ffbench_kernel": "torch"}, "ffbench_plan is missing"),
    ],
)
def test_options_that_are_not_valid(given: dict[str, Any], text: str) -> None:
    options, problems = options_of(given)
    assert options is None and text in "; ".join(problems)
