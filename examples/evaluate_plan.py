"""What a saved plan costs the answers: `python examples/evaluate_plan.py PLAN MODEL [CONTEXT]`."""

import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

import ffbench


def main(plan_folder: str, location: str, context: str = "1536") -> None:
    """Print mean KL and NLL of each tail."""
    model = AutoModelForCausalLM.from_pretrained(location).eval()
    tokenizer = AutoTokenizer.from_pretrained(location)
    plan = ffbench.SparsePlan.load(plan_folder)
    rows = ffbench.evaluate(model, tokenizer, plan, windows=4, contexts=[int(context)])
    print(rows.groupby("tail")[["kl", "nll_dense", "nll_sparse", "top1_agreement"]].mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
