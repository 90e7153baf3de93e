"""How each column of a table is shown: heading, digits, direction, interval."""

from dataclasses import dataclass

UP, DOWN = "\u2191", "\u2193"


@dataclass(frozen=True)
class ColumnFormat:
    """How a number is shown.

    `better` is 1 if higher is better, -1 if lower is, 0 if neither. `low` and `high` name the
    columns of its interval. `neutral` is the value of no effect: an interval that holds it shows
    nothing, so it is never bold. `exact` numbers are counted, not measured, and need no interval.
    `timed` numbers depend on the machine: only rows of one machine are compared in them.
    """

    title: str
    digits: int = 3
    better: int = 0
    low: str = ""
    high: str = ""
    scale: float = 1.0
    neutral: float | None = None
    exact: bool = False
    timed: bool = False

    @property
    def heading(self) -> str:
        """Title with the arrow of its direction."""
        return self.title + {1: f" {UP}", -1: f" {DOWN}", 0: ""}[self.better]


def with_interval(
    name: str,
    title: str,
    digits: int = 3,
    better: int = -1,
    scale: float = 1.0,
    neutral: float | None = None,
) -> ColumnFormat:
    """A column whose interval ends are named after it."""
    return ColumnFormat(
        title, digits, better, f"{name}_low", f"{name}_high", scale=scale, neutral=neutral
    )


def speedup(title: str, prefix: str) -> ColumnFormat:
    """A speedup with its bracket; 1 is as fast as dense."""
    return ColumnFormat(title, 2, 1, f"{prefix}p20", f"{prefix}p80", neutral=1.0, timed=True)


FORMATS = {
    "block_size": ColumnFormat("block", 0),
    "hot_fraction": ColumnFormat("hot"),
    "group_size": ColumnFormat("group", 0),
    "calibration_text": ColumnFormat("fitted on"),
    "n": ColumnFormat("n", 0),
    "seeds": ColumnFormat("seeds", 0),
    "seed": ColumnFormat("seed", 0),
    "layer": ColumnFormat("layer", 0),
    "context": ColumnFormat("context", 0),
    "kept": ColumnFormat("kept", 0),
    "chance": ColumnFormat("chance", 1),
    "truncated": ColumnFormat("truncated", 0),
    "score": ColumnFormat("score", 2, 1),
    "score_dense": ColumnFormat("dense score", 2),
    "loss_abs": with_interval("loss_abs", "loss, points", 2, neutral=0),
    "loss_rel": with_interval("loss_rel", "rel. loss, %", 1, scale=100, neutral=0),
    "loss_over_chance": with_interval(
        "loss_over_chance", "loss over chance, %", 1, scale=100, neutral=0
    ),
    "nll": ColumnFormat("NLL", 3, -1),
    "nll_dense": ColumnFormat("dense NLL"),
    "nll_increase_abs": with_interval("nll_increase_abs", "NLL increase", neutral=0),
    "nll_increase_rel": with_interval(
        "nll_increase_rel", "NLL increase, %", 1, scale=100, neutral=0
    ),
    "nll_increase": with_interval("nll_increase", "NLL increase", neutral=0),
    "gold_ppl_ratio": with_interval("gold_ppl_ratio", "gold ppl ratio", neutral=1),
    "kl": with_interval("kl", "KL", 4),
    "kl_worst": ColumnFormat("worst KL", 4, -1),
    "kl_continuation": with_interval("kl_continuation", "answer KL", 4),
    "kl_continuation_worst": ColumnFormat("answer KL, worst window", 3, -1),
    "kl_copy_worst": ColumnFormat("copy KL, worst window", 3, -1),
    "kl_copy": with_interval("kl_copy", "copy KL", 4),
    "kl_question": with_interval("kl_question", "question KL", 4),
    "kl_prompt": with_interval("kl_prompt", "prompt KL"),
    "nll_increase_continuation": with_interval(
        "nll_increase_continuation", "answer NLL increase", neutral=0
    ),
    "nll_increase_copy": with_interval("nll_increase_copy", "copy NLL increase", neutral=0),
    "kl_prompt_prose": ColumnFormat("prompt KL, prose", 3, -1),
    "kl_prompt_code": ColumnFormat("prompt KL, code", 3, -1),
    "top1_continuation": ColumnFormat("answer top-1, %", 1, 1, scale=100),
    "top1_agreement": ColumnFormat("top-1, %", 1, 1, scale=100),
    "ppl_ratio_prompt": ColumnFormat("prompt ppl ratio", 3, -1),
    "recall_at_k": ColumnFormat("recall", 3, 1),
    "retained_energy": ColumnFormat("energy", 3, 1),
    "token_mixing": ColumnFormat("token mixing"),
    "density": ColumnFormat("density"),
    "density_used": ColumnFormat("density used"),
    "ffn_speedup": speedup("FFN speedup", "ffn_"),
    "ttft_speedup": speedup("TTFT speedup", "ttft_"),
    "ttft_own_dense": ColumnFormat("TTFT vs own dense", 2, 1, timed=True),
    "wide_own_dense": ColumnFormat("TTFT wide vs own dense", 2, 1, timed=True),
    "wide_speedup": speedup("TTFT wide", "wide_"),
    "flops_ratio": ColumnFormat("block FLOPs", 3, -1, exact=True),
    "flops_selector": ColumnFormat("selector FLOPs"),
    "flops_used": ColumnFormat("FFN FLOPs", 3, -1, exact=True),
    # the cost that a sparsity was solved for: equal in all rows, so lower is not better
    "flops_solved": ColumnFormat("FFN FLOPs"),
    "ratio": speedup("TTFT speedup", ""),
    "ffn_ratio": ColumnFormat("FFN speedup", 2, 1, timed=True),
    "own_dense_ratio": ColumnFormat("vs own dense", 2, 1, timed=True),
    "input_tokens": ColumnFormat("input tokens", 0),
    "rate": ColumnFormat("requests/s", 2),
    "requests": ColumnFormat("requests", 0),
    "round": ColumnFormat("round", 0),
    **{
        name: how
        for p in (50, 90, 99)
        for name, how in {
            f"ttft_p{p}_s": ColumnFormat(f"TTFT p{p}, s", 2, -1, timed=True),
            f"ttft_p{p}_s_dense": ColumnFormat(f"dense TTFT p{p}, s", 2),
            f"ttft_p{p}_speedup": ColumnFormat(f"p{p} speedup", 2, 1, timed=True),
        }.items()
    },
    "tpot_p50_s": ColumnFormat("per further token p50, s", 4, -1, timed=True),
    "tpot_p50_s_dense": ColumnFormat("dense per further token p50, s", 4),
    "tpot_p50_speedup": ColumnFormat("per token p50 speedup", 2, 1, timed=True),
    "total_tokens_per_s": ColumnFormat("tokens/s", 0, 1, timed=True),
    "total_tokens_per_s_dense": ColumnFormat("dense tokens/s", 0),
    "throughput_ratio": ColumnFormat("throughput vs dense", 2, 1, timed=True),
    "run_key": ColumnFormat("run"),
    "git_sha": ColumnFormat("git"),
    "tokens": ColumnFormat("tokens", 0),
    "threads": ColumnFormat("threads", 0),
    "layers": ColumnFormat("layers", 0),
    "ratio_eager": speedup("vs torch eager", ""),
    "ratio_compiled": ColumnFormat("vs torch.compile", 2, 1, timed=True),
    "ratio_self": ColumnFormat("vs itself dense", 2, 1, timed=True),
    "ideal": ColumnFormat("ideal", 2),
    "gflops": ColumnFormat("GFLOP/s", 0),
    "peak_gflops": ColumnFormat("peak", 0),
}
# numbers of settings: as short as they are exact
SETTINGS = ("sparsity", "hot_fraction", "seed", "block_size", "group_size")


def column_format(column: str) -> ColumnFormat:
    """How a column is shown; under its own name if it is in no list."""
    return FORMATS.get(column, ColumnFormat(column.removeprefix("run.")))
