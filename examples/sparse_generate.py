"""Generate text after a sparse prompt: `python examples/sparse_generate.py PLAN MODEL`.

PLAN is a folder written by `python -m ffbench plan save PLAN model=... sparsity=0.5`; MODEL is the
same model's folder or hub id.
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ffbench import SparsePlan, sparse_prefill


def main(plan_folder: str, location: str) -> None:
    """Print the continuation of this file's own docstring, repeated to a long prompt."""
    model = AutoModelForCausalLM.from_pretrained(location).eval()
    tokenizer = AutoTokenizer.from_pretrained(location)
    plan = SparsePlan.load(plan_folder)
    inputs = tokenizer((__doc__ or "") * 20, return_tensors="pt", return_token_type_ids=False)
    with sparse_prefill(model, plan) as prefill, torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))
    print(f"{prefill.density:.0%} of the prompt's FFN neurons were computed")


if __name__ == "__main__":
    main(*sys.argv[1:])
