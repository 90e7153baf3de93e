"""OpenVINO GenAI on a GGUF file, with paged attention as its `LLMPipeline` uses it on CPUs."""

from collections.abc import Callable
from typing import Any

WHOLE_PROMPT = 1 << 30  # tokens per step: LLMPipeline's own default never splits a prompt


def load(request: dict[str, Any]) -> tuple[Callable[[list[int]], int], dict[str, Any]]:
    """Prefix caching is off: a prompt that comes twice is computed twice."""
    import numpy as np
    import openvino
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = WHOLE_PROMPT
    properties = request["properties"] | {"INFERENCE_NUM_THREADS": request["threads"]}
    pipeline = genai.LLMPipeline(request["gguf"], "CPU", scheduler_config=scheduler, **properties)
    settings = genai.GenerationConfig()
    settings.max_new_tokens, settings.do_sample = 1, False
    settings.ignore_eos = True  # an end token is a next token like any other
    settings.apply_chat_template = False

    def next_token(ids: list[int]) -> int:
        prompt = np.array([ids], dtype=np.int64)
        inputs = genai.TokenizedInputs(
            openvino.Tensor(prompt), openvino.Tensor(np.ones_like(prompt))
        )
        result = pipeline.generate(inputs, settings)
        if result.perf_metrics.get_num_input_tokens() != len(ids):
            raise RuntimeError(
                "OpenVINO computed another number of prompt tokens than it was given"
            )
        return int(result.tokens[0][0])

    core = openvino.Core()
    core.set_property("CPU", {name: str(value) for name, value in properties.items()})
    hint = core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
    group = core.get_property("CPU", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    return next_token, {
        "runtime": "OpenVINO GenAI",
        "version": genai.get_version(),
        "inference_precision": hint,
        "dynamic_quantization_group": int(group),
    }
