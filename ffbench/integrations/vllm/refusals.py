"""Why a server cannot run a plan: every reason, before any weights are read. Needs no vLLM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffbench.integrations.vllm.shards import rank_problems
from ffbench.methods.plan import SparsePlan, untimed
from ffbench.methods.selectors import Selector
from ffbench.methods.similar_blocks import CONSECUTIVE
from ffbench.models.config_checks import config_problems, text_config
from ffbench.suggestions import unknown_name

PLAN, KERNEL, MODEL_NAME = "ffbench_plan", "ffbench_kernel", "ffbench_model_name"
OPTIONS = (PLAN, KERNEL, MODEL_NAME)
ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
# kernels that are made for a device; with `auto` a server takes no other one
KERNELS = {"cpu": "native", "cuda": "triton"}
LOAD_FORMATS = ("auto", "hf", "safetensors")


@dataclass(frozen=True)
class Options:
    """What --additional-config says: the plan's folder, the kernel, the model's name in the plan's
    fingerprint (None: as the plan's card has it).
    """

    plan: str
    kernel: str = "auto"
    model_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """What a server's configuration says.

    config: the model's config.json. uncovered: features that are switched on and that no plan has
    been tried with, as their options are called. kv_block: tokens of a KV block if prefix caching
    is on and the user chose it, else None.
    """

    architecture: str
    config: Mapping[str, Any]
    platform: str
    quantization: str | None = None
    load_format: str = "auto"
    tensor_parallel: int = 1
    uncovered: tuple[str, ...] = ()
    kv_block: int | None = None
    custom_worker: str | None = None
    graphs: bool = False


def options_of(additional: object) -> tuple[Options | None, list[str]]:
    """The options in `additional_config`, and what is wrong with them; None without a plan."""
    given = additional if isinstance(additional, Mapping) else {}
    own = {str(key): value for key, value in given.items() if str(key).startswith("ffbench")}
    if not own:
        return None, []
    problems = [unknown_name("option", key, OPTIONS) for key in own if key not in OPTIONS]
    problems += [
        f"{key}: expected a text, received {own[key]!r}"
        for key in OPTIONS
        if key in own and (not isinstance(own[key], str) or not own[key])
    ]
    if PLAN not in own:
        problems.append(f"{PLAN} is missing; give the plan's folder")
    if problems:
        return None, problems
    return Options(own[PLAN], own.get(KERNEL, "auto"), own.get(MODEL_NAME)), []


def method_problems(plan: SparsePlan) -> list[str]:
    """Methods of a plan that need more of a prompt than the chunk at hand."""
    s, problems = plan.settings, []
    if reason := untimed(s):
        problems.append(reason)
    if isinstance(s.selector, Selector) and s.selector.reads_earlier_tokens:
        problems.append(
            f"selector {s.selector.name!r} reads earlier tokens of a prompt, which a chunk does "
            "not have"
        )
    if s.blocks != CONSECUTIVE:
        problems.append(
            f"blocks {s.blocks!r} are made of a whole prompt's tokens, and a chunk has only some "
            f"of them; use a plan with blocks={CONSECUTIVE}"
        )
    if s.scheduler.per_block:
        problems.append(
            f"scheduler {s.scheduler.name!r} shares neurons among all blocks of a prompt, and a "
            "chunk has only some of them; use another scheduler"
        )
    return problems


def shape_problems(plan: SparsePlan, config: Mapping[str, Any]) -> list[str]:
    """Sizes of the plan that are not the model's."""
    inner, first = text_config(config), plan.layers[0]
    sizes = {
        "layers": (len(plan.layers), inner.get("num_hidden_layers")),
        "neurons per layer": (len(first.order), inner.get("intermediate_size")),
        "inputs": (len(first.predictor.mean), inner.get("hidden_size")),
    }
    return [
        f"the plan has {ours} {name}, the model {theirs}"
        for name, (ours, theirs) in sizes.items()
        if theirs is not None and ours != theirs
    ]


def model_problems(facts: ServerFacts) -> list[str]:
    """Models that are not covered."""
    problems = []
    if facts.architecture not in ARCHITECTURES:
        problems.append(
            f"model: {facts.architecture} is not covered; covered: {', '.join(ARCHITECTURES)}"
        )
    from_config = config_problems(facts.config)
    if facts.quantization and not any("quantised" in text for text in from_config):
        from_config.append(
            f"model: its weights are quantised ({facts.quantization}); FFBench needs float32, "
            "bfloat16 or float16 weights"
        )
    return problems + from_config


def server_problems(facts: ServerFacts, plan: SparsePlan) -> list[str]:
    """Features of the server that are not covered."""
    problems = [f"{name} is not covered together with a plan" for name in facts.uncovered]
    if facts.platform not in KERNELS:
        problems.append(
            f"platform {facts.platform!r} is not covered; covered: {', '.join(KERNELS)}"
        )
    if facts.load_format not in LOAD_FORMATS:
        problems.append(
            f"load_format {facts.load_format!r} is not covered; covered: {', '.join(LOAD_FORMATS)}"
        )
    if facts.custom_worker:
        problems.append(
            f"worker_cls {facts.custom_worker!r}: a plan brings its own worker class; leave "
            "--worker-cls out"
        )
    if facts.graphs:
        problems.append("CUDA graphs are not covered; add --enforce-eager")
    size = plan.settings.block_size
    if facts.kv_block is not None and facts.kv_block % size:
        problems.append(
            f"block_size {facts.kv_block}: prefix caching would reuse parts of the plan's blocks "
            f"of {size} tokens; choose a multiple of {size}, or --no-enable-prefix-caching"
        )
    return problems + rank_problems(plan, facts.tensor_parallel)


def problems_of(facts: ServerFacts, plan: SparsePlan) -> list[str]:
    """Everything that stands against running `plan` in a server, model first."""
    problems = model_problems(facts)
    if not problems:
        problems += shape_problems(plan, facts.config)
    return problems + method_problems(plan) + server_problems(facts, plan)
