"""One vLLM engine, or the Hugging Face model, on the same prompts; run as a script, one process per
case: `python vllm_engine.py JSON` prints RESULT and a JSON value as its last line.
"""

import json
import os
import sys
from typing import Any

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
CHUNK, NEW_TOKENS = 1024, 6
SAMPLING = {
    **{"temperature": 0, "max_tokens": NEW_TOKENS, "detokenize": False},
    **{"ignore_eos": True, "logprobs": 0},
}


def engine_options(case: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an engine for a case; eager unless the case says otherwise."""
    sizes = {"dtype": "float32", "max_model_len": 2048, "max_num_batched_tokens": CHUNK}
    eager = {"model": case["model"], "skip_tokenizer_init": True, "enforce_eager": True}
    return sizes | eager | case.get("options", {})


def engine(case: dict[str, Any]) -> Any:
    """Greedy tokens and their log-probabilities, for each list of prompts one after another."""
    os.environ.update(ENVIRONMENT)
    from vllm import LLM, SamplingParams

    llm, parameters = LLM(**engine_options(case)), SamplingParams(**SAMPLING)
    answers = []
    for prompts in case["batches"]:
        asked = [{"prompt_token_ids": ids} for ids in prompts]
        for request in llm.generate(asked, parameters, use_tqdm=False):
            done = request.outputs[0]
            found = zip(done.token_ids, done.logprobs, strict=True)
            answers.append([[int(t), float(step[t].logprob)] for t, step in found])
    return answers


def paths(case: dict[str, Any]) -> Any:
    """What computed which rows while prompts were answered, call by call, and whether every layer's
    own module multiplies by the weights as they are stored.
    """
    os.environ.update(ENVIRONMENT | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"})
    from vllm import LLM, SamplingParams
    from vllm.model_executor.models.llama import LlamaMLP

    from ffbench.methods.float32_products import linear
    from ffbench.models import sparse_ffn

    calls: list[tuple[str, int]] = []

    def count(owner: Any, name: str, argument: int, what: str) -> None:
        function = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls.append((what, len(arguments[argument])))
            return function(*arguments, **options)

        setattr(owner, name, counted)

    count(LlamaMLP, "forward", 1, "module")
    count(sparse_ffn, "dense_gated_ffn", 0, "dense")
    count(sparse_ffn, "sparse_gated_ffn", 0, "sparse")

    def unpacked(model: Any) -> bool:
        own = [layer.mlp.ffn.mlp for layer in model.model.layers]
        return all(
            projection.cpu_linear is linear and projection.weight.dim() == 2
            for mlp in own
            for projection in (mlp.gate_up_proj, mlp.down_proj)
        )

    llm = LLM(**engine_options(case))
    calls.clear()
    asked = [{"prompt_token_ids": ids} for ids in case["prompts"]]
    llm.generate(asked, SamplingParams(**SAMPLING), use_tqdm=False)
    return {"calls": calls, "unpacked": llm.apply_model(unpacked)}


def refusals(case: dict[str, Any]) -> Any:
    """The error of each set of options, none of which may start an engine."""
    os.environ.update(ENVIRONMENT)
    from vllm import LLM

    texts = []
    for options in case["cases"]:
        given = {"dtype": "float32", "max_model_len": 2048, "skip_tokenizer_init": True}
        try:
            LLM(**given | options)
        except Exception as error:  # noqa: BLE001 - the test looks at what was raised
            texts.append(f"{type(error).__name__}: {error}")
        else:
            texts.append("started")
    return texts


def hugging_face(case: dict[str, Any]) -> Any:
    """The same as `engine` by transformers, each prompt in one pass; by `ranks` shards of a plan if
    there are several.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from ffbench.methods.plan import SparsePlan
    from ffbench.models.sparse_prefill import sparse_prefill

    model = AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32).eval()
    plan = SparsePlan.load(case["plan"])
    answers = []
    sharded = by_ranks(model, plan, case["ranks"]) if case.get("ranks", 1) > 1 else None
    for prompt in (ids for batch in case["batches"] for ids in batch):
        ids = torch.tensor([prompt])
        arguments = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
        arguments |= {"return_dict_in_generate": True, "output_scores": True, "eos_token_id": None}
        with torch.no_grad():
            if sharded:
                done = model.generate(ids, **arguments)
            else:
                with sparse_prefill(model, plan, "torch"):
                    done = model.generate(ids, **arguments)
        tokens = done.sequences[0, ids.shape[1] :].tolist()
        scores = [score[0].log_softmax(-1) for score in done.scores]
        answers.append([[t, float(row[t])] for t, row in zip(tokens, scores, strict=True)])
    return answers


def by_ranks(model: Any, plan: Any, size: int) -> bool:
    """Let each FFN of a Hugging Face model be the sum of its ranks' parts."""
    import torch
    from fused_ffn import fused_ffn

    from ffbench.integrations.vllm.layer import BatchFFN
    from ffbench.integrations.vllm.positions import RequestRows, batch_layout
    from ffbench.integrations.vllm.shards import rank_plan
    from ffbench.models.adapters import gated_ffns
    from ffbench.models.prefill_state import Prefill

    def parts_of(ffn: Any) -> list[BatchFFN]:
        width = len(ffn.w_gate) // size
        owned = [slice(rank * width, (rank + 1) * width) for rank in range(size)]
        return [
            BatchFFN(
                index=ffn.layer,
                mlp=fused_ffn(ffn, own),
                activation=ffn.activation,
                plan=rank_plan(plan, rank, size),
                prefill=Prefill(),
                backend="torch",
            )
            for rank, own in enumerate(owned)
        ]

    def forward_of(parts: list[BatchFFN]) -> Any:
        def forward(x: torch.Tensor) -> torch.Tensor:
            tokens = x.shape[1]
            prompt = tokens if tokens > 1 else 0
            rows = RequestRows(start=0, end=tokens, offset=0, prompt_tokens=prompt)
            layout = batch_layout(plan.settings, [rows], tokens)
            return torch.stack([part.forward(x[0], layout) for part in parts]).sum(0)[None]

        return forward

    for ffn in gated_ffns(model):
        ffn.module.forward = forward_of(parts_of(ffn))
    return True


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    known = (engine, paths, refusals, hugging_face)
    value = {function.__name__: function for function in known}[given["what"]](given)
    print("RESULT " + json.dumps(value), flush=True)
