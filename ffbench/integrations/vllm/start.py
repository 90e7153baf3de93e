"""Start of a server with a plan: everything is checked in vLLM's first process, before any weights
are read, and the plan's worker class takes the place of the platform's own.
"""

import logging
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

from ffbench.integrations.fingerprints import fingerprint
from ffbench.integrations.vllm.metrics import publish
from ffbench.integrations.vllm.refusals import (
    KERNELS,
    PLAN,
    Options,
    ServerFacts,
    options_of,
    problems_of,
)
from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.models.errors import ModelError
from ffbench.runs.files import StoreError

WORKER = "ffbench.integrations.vllm.worker.PlanWorker"
KV_BLOCK_UNIT = 32  # the CPU's attention needs multiples of it, those of cards of 16
logger = logging.getLogger("vllm.ffbench")


class ServerRefused(RuntimeError):
    """A server cannot run the plan; the text says why."""


def refuse(problems: list[str]) -> NoReturn:
    """End the start of a server in one line: as an error of Python code that uses vLLM, as exit
    code 2 of the command `vllm`.
    """
    text = f"{PLAN}: {'; '.join(' '.join(problem.split()) for problem in problems)}"
    if Path(sys.argv[0]).name == "vllm":
        print(f"error: {text}", file=sys.stderr, flush=True)
        raise SystemExit(2)
    # not a ValueError, which pydantic would wrap in several lines of its own
    raise ServerRefused(text)


def start(config: Any) -> None:
    """Check the plan that a VllmConfig names, and let its workers run it.

    Raises ServerRefused, or SystemExit under the command `vllm`, naming every problem.
    """
    if config.parallel_config.worker_cls == WORKER:
        return
    options, problems = options_of(config.additional_config)
    if options is None:
        refuse(problems)
    try:
        plan = SparsePlan.load(Path(options.plan))
    except PlanError as error:
        refuse([str(error)])
    facts = facts_of(config)
    problems = problems_of(facts, plan)
    if not problems:
        problems = kernel_problems(options.kernel, facts.platform, config.model_config.dtype)
    if not problems:
        problems = fingerprint_problems(options, plan, config)
    if problems:
        refuse(problems)
    config.parallel_config.worker_cls = WORKER
    align_kv_blocks(config.cache_config, plan.settings.block_size)
    publish()
    s = plan.settings
    logger.info(
        "ffbench: prompts run by plan %s: %s + %s, sparsity %s, blocks of %d tokens, dense below "
        "%d tokens",
        options.plan,
        s.selector.name,
        s.compensator.name,
        s.sparsity,
        s.block_size,
        plan.min_tokens,
    )


def facts_of(config: Any) -> ServerFacts:
    """The facts of a VllmConfig that say whether a plan can run."""
    from vllm.platforms import current_platform

    model, parallel, cache = config.model_config, config.parallel_config, config.cache_config
    graphs = config.compilation_config.cudagraph_mode
    uses_graphs = not model.enforce_eager and (graphs is None or graphs.name != "NONE")
    chosen_block = cache.enable_prefix_caching and cache.user_specified_block_size
    return ServerFacts(
        architecture=model.architecture,
        config=model.hf_config.to_dict(),
        platform=current_platform.device_type,
        quantization=model.quantization,
        load_format=str(config.load_config.load_format),
        tensor_parallel=parallel.tensor_parallel_size,
        uncovered=tuple(name for name, on in features(config).items() if on),
        kv_block=cache.block_size if chosen_block else None,
        custom_worker=None if parallel.worker_cls == "auto" else parallel.worker_cls,
        graphs=current_platform.device_type == "cuda" and uses_graphs,
    )


def features(config: Any) -> dict[str, bool]:
    """Features that no plan has been tried with, and whether they are on."""
    parallel = config.parallel_config
    return {
        "speculative decoding (--speculative-config)": config.speculative_config is not None,
        "LoRA (--enable-lora)": config.lora_config is not None,
        "a KV cache that is shared with other processes (--kv-transfer-config)": (
            config.kv_transfer_config is not None
        ),
        "pipeline parallelism (--pipeline-parallel-size)": parallel.pipeline_parallel_size > 1,
        "data parallelism (--data-parallel-size)": parallel.data_parallel_size > 1,
        "context parallelism (--decode-context-parallel-size)": (
            parallel.decode_context_parallel_size > 1
            or getattr(parallel, "prefill_context_parallel_size", 1) > 1
        ),
        "overlap of two batches (--enable-dbo)": bool(getattr(parallel, "enable_dbo", False)),
        "a runner other than generate (--runner)": config.model_config.runner_type != "generate",
        "model runner V2 (set VLLM_USE_V2_MODEL_RUNNER=0)": bool(config.use_v2_model_runner),
    }


def kernel_problems(kernel: str, platform: str, dtype: Any) -> list[str]:
    """Why a kernel cannot run here; `auto` is the platform's own, never a slower one."""
    import torch

    from ffkernels import available_backends, backends

    name = KERNELS[platform] if kernel == "auto" else kernel
    states = available_backends()
    usable = ", ".join(other for other, state in states.items() if state == "available")
    hint = f"ffbench_kernel: choose one of {usable}"
    if name not in states:
        return [f"kernel {name!r} is unknown; {hint}"]
    if states[name] != "available":
        return [f"kernel {name!r} is not available here ({states[name]}); {hint}"]
    if platform == "cpu":
        try:
            backends.load(name, torch.empty(1, 1, dtype=dtype))
        except ValueError as error:
            return [f"{error}; {hint}"]
    return []


def fingerprint_problems(options: Options, plan: SparsePlan, config: Any) -> list[str]:
    """Why the model that is served is not the one that the plan was made for."""
    model = config.model_config
    name = options.model_name or plan.card.get("model")
    if not name:
        return [
            "the plan does not say what its model was called; give ffbench_model_name, the "
            "model.name that it was made with"
        ]
    dtype = str(model.dtype).removeprefix("torch.")
    try:
        served = fingerprint(
            name=name,
            dtype=dtype,
            pretrained=model.model,
            gguf_file=None,
            revision=model.revision,
        )
    except (ModelError, StoreError) as error:
        return [str(error)]
    if served["model"] == plan.fingerprint.get("model"):
        return []
    made_for = plan.fingerprint.get("name", "another model")
    return [
        f"plan {options.plan} was made for other weights ({made_for}) than those that are served "
        f"({model.model} as {name!r}, {dtype}); serve the folder or hub id that the plan was made "
        "for, with --dtype as its model.dtype"
    ]


def align_kv_blocks(cache: Any, block_size: int) -> None:
    """Let prefix caching reuse whole blocks of the plan only.

    A block's neurons depend on all of its tokens, so a KV block that ends inside it would carry the
    choice made for one prompt into another one.
    """
    if cache.enable_prefix_caching and not cache.user_specified_block_size:
        cache.block_size = math.lcm(KV_BLOCK_UNIT, block_size)
        cache.user_specified_block_size = True
