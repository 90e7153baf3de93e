"""What a set of runs shows, in words: results, what wider FFNs would gain, and what to try next."""

import pandas as pd

from ffanalysis import machines

NOTICEABLE_COPY_RATIO = 2.0  # copy KL over continuation KL from which retrieval is the weak point


def findings(runs: pd.DataFrame) -> list[str]:
    """Sentences about the runs of one command, from the frame `runs`; none without a sparse run
    that was measured.

    The first names the sparse run of the highest measured speedup whose bracket is above 1, or the
    one of lowest loss: if none is faster, of all; if the faster ones were timed on different
    machines, of those. The last names a next step for what limits that run. One between them
    compares a wide shape, if it was timed.
    """
    measured = [name for name in ("kl_continuation", "ttft_speedup") if name in runs]
    if len(runs) == 0 or not measured:
        return []
    sparse = runs[(runs["sparsity"] > 0) & runs[measured].notna().any(axis=1)]
    if sparse.empty:
        return []
    faster = sparse[sparse["ttft_p20"] > 1] if "ttft_p20" in sparse else sparse.iloc[:0]
    if len(faster) and machines.count(faster) == 1:
        best = faster.sort_values("ttft_speedup").iloc[-1]
    else:
        loss = "kl_continuation" if "kl_continuation" in sparse else "sparsity"
        best = (faster if len(faster) else sparse).sort_values(loss).iloc[0]
    return [
        result_sentence(best, len(faster) > 0),
        *ceiling_sentence(best),
        next_step(best, len(faster) > 0),
    ]


def ceiling_sentence(row: pd.Series) -> list[str]:
    """What the FFNs' share of a prefill allows here, and what was measured at the wide shape; none
    without one.
    """
    wide, share, wide_share = (
        row.get(name) for name in ("wide_speedup", "ffn_share", "wide_ffn_share")
    )
    if wide is None or pd.isna(wide):
        return []
    text = (
        f"wider FFNs: at the shape of {row['wide_shape']} with random weights (time only, no "
        f"accuracy), prefill is {number(row, 'wide_speedup', 2)} times as fast as dense"
    )
    if share is None or wide_share is None or pd.isna(share) or pd.isna(wide_share):
        return [f"{text}."]
    flops = row.get("flops_used")
    text += f"; FFNs take {wide_share:.0%} of a dense prefill there and {share:.0%} here"
    if flops is None or pd.isna(flops):
        return [f"{text}."]
    return [f"{text}, which allows about {1 / (1 - share * (1 - flops)):.2f} at these FLOPs."]


def number(row: pd.Series, name: str, digits: int) -> str | None:
    """A value with its interval, or None if it was not measured."""
    value = row.get(name)
    if value is None or pd.isna(value):
        return None
    ends = ("p20", "p80") if name.endswith("speedup") else ("low", "high")
    stem = name.removesuffix("_speedup")
    low, high = (row.get(f"{stem}_{end}") for end in ends)
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return f"{value:z.{digits}f}"
    return f"{value:z.{digits}f} ({low:z.{digits}f} to {high:z.{digits}f})"


def result_sentence(row: pd.Series, faster: bool) -> str:
    """Loss and speed of one run."""
    losses = [
        f"{title} {text}"
        for name, title, digits in (
            ("kl_continuation", "continuation KL", 3),
            ("kl_copy", "copy KL", 3),
            ("gold_ppl_ratio", "gold perplexity ratio", 2),
        )
        if (text := number(row, name, digits))
    ]
    speed = number(row, "ttft_speedup", 2)
    if speed is None:
        gain = "speed was not measured"
    elif faster:
        gain = f"prefill is {speed} times as fast as dense"
    else:
        gain = f"prefill is no faster than dense: {speed}"
    own = number(row, "ttft_own_dense", 2)
    if speed is not None and own is not None:
        gain += f" ({own} times our own kernels at full density)"
    lost = f"; {', '.join(losses)}" if losses else ""
    return f"found: {row['model']} at {row['sparsity']:.0%} sparsity: {gain}{lost}."


def next_step(row: pd.Series, faster: bool) -> str:
    """A command for what limits the run."""
    continuation, copy = row.get("kl_continuation"), row.get("kl_copy")
    if row.get("busy") is True:
        return "try next: measure speed again on a quiet machine; this one was busy."
    speed = row.get("ttft_speedup")
    if not faster and speed is not None and not pd.isna(speed):
        return (
            "try next: a model with wider FFNs, where prefill gains more "
            "(python -m ffbench speed shape=llama3.2-1b)."
        )
    if (
        continuation is not None
        and copy is not None
        and copy > NOTICEABLE_COPY_RATIO * continuation
    ):
        return (
            "try next: retrieval suffers most; weight it higher (objective.copy=1 "
            "objective.continuation=0) or skip less (sparsity=0.3)."
        )
    if row.get("calibration_text") == "embedded":
        return "try next: fit the plan on text like your own (calibration.folder=FOLDER)."
    return (
        "try next: tune the plan (compensator.tune_steps=120) or compare schedulers "
        "(+sweep=schedulers)."
    )
