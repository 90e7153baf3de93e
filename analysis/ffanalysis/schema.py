"""The data frames of `analysis`: their columns and what they mean."""

from dataclasses import dataclass

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """`kind` is text, number or flag; `meaning` says what it holds, with its unit."""

    kind: str
    meaning: str


def numbers(**meanings: str) -> dict[str, Column]:
    """Number columns by name."""
    return {name: Column("number", meaning) for name, meaning in meanings.items()}


def texts(**meanings: str) -> dict[str, Column]:
    """Text columns by name."""
    return {name: Column("text", meaning) for name, meaning in meanings.items()}


METHOD = texts(
    run_key="16 hex digits, the run's folder",
    model="name of the model config",
    dtype="weight dtype",
    selector="`dense` at sparsity 0",
    compensator="`dense` at sparsity 0",
    scheduler="`dense` at sparsity 0",
    protocol="`whole` or `context`: the part of a prompt that runs sparse",
    blocks="`consecutive` or `similar`: which tokens share a block",
    calibration_text="`embedded`, or 16 hex digits that name the user's own text",
) | numbers(
    block_size="tokens",
    sparsity="share of neurons skipped in sparse blocks",
    hot_fraction="share of kept neurons that every block keeps",
    rank="of the compensator",
    group_size="neighbouring neurons kept or skipped together",
)
LOSSES = numbers(
    n="records",
    score="points, 0 to 100",
    score_dense="points, the same records",
    loss_abs="points, dense - sparse",
    loss_abs_low="95% paired bootstrap",
    loss_abs_high="95% paired bootstrap",
    loss_rel="loss_abs / score_dense",
    loss_rel_low="95% paired bootstrap",
    loss_rel_high="95% paired bootstrap",
    nll="gold answer, nats per token",
    nll_dense="gold answer, dense, nats per token",
    nll_gain_abs="nll - nll_dense, nats per token",
    nll_gain_abs_low="95% paired bootstrap",
    nll_gain_abs_high="95% paired bootstrap",
    nll_gain_rel="nll_gain_abs / nll_dense",
    nll_gain_rel_low="95% paired bootstrap",
    nll_gain_rel_high="95% paired bootstrap",
)
SPEED = numbers(
    tokens="prompt length",
    ratio="dense time / sparse time, median of paired ratios",
    p20="of the ratios",
    p80="of the ratios",
    dense_s="seconds, median",
    sparse_s="seconds, median",
    rounds="pairs",
)

FRAMES: dict[str, dict[str, Column]] = {
    "runs": METHOD
    | texts(task="name of the task group")
    | LOSSES
    | numbers(
        kl="KL to dense, nats per token, mean over texts",
        kl_low="95% bootstrap over windows",
        kl_high="95% bootstrap over windows",
        kl_prose="KL on prose",
        kl_code="KL on code",
        top1_agreement="share of tokens",
        ppl_ratio="sparse perplexity / dense",
        windows="held out",
        recall_at_k="of the block oracle's neurons, mean over layers",
        retained_energy="over the oracle's, mean over layers",
        density_used="neuron-tokens computed over those of a dense run",
        ffn_speedup="dense / sparse FFN time",
        ffn_p20="of the ratios",
        ffn_p80="of the ratios",
        ffn_dense_s="seconds",
        ffn_tokens="prompt length",
        ttft_speedup="dense / sparse time to first token, at the first length",
        ttft_p20="of the ratios",
        ttft_p80="of the ratios",
        ttft_dense_s="seconds",
        ttft_tokens="prompt length",
        flops_ratio="sparse block FFN FLOPs over dense, selector and compensator included",
        flops_selector="share of dense",
        flops_compensator="share of dense",
        threads="of the timings; of the run where nothing was timed",
        seconds="whole cost of the run, cached stages included",
    )
    | texts(
        cpu="of the timings; of the run where nothing was timed",
        git_sha="commit",
        started="ISO time",
        command="the command that makes this run alone, or with its sweep where no sweep list is there",
    )
    | {
        "git_dirty": Column("flag", "uncommitted changes at the start"),
        "per_token": Column("flag", "the selector chooses for each token by itself: accuracy only"),
    },
    "tasks": METHOD
    | texts(task="name of the task", metric="how it is scored", category="of LongBench, or ours")
    | LOSSES
    | numbers(
        chance="score of a guess",
        truncated="prompts shortened",
        tokens_cut="mean over shortened prompts",
    )
    | {"headline": Column("flag", "counts in the mean")},
    "groups": METHOD
    | texts(
        kind="`category` or `bucket`",
        task="name of the task, or empty for all of them",
        group="name of the category, or lengths in words",
    )
    | LOSSES,
    "answers": texts(
        run_key="16 hex digits",
        task="name of the task",
        record_id="of the record",
        prediction="the answer",
    )
    | numbers(
        score="points or share, as the metric has it",
        nll="gold answer, nats per token",
        prompt_tokens="tokens",
        tokens_cut="tokens",
        length="words of the record",
        seconds="for this record",
    ),
    "layers": METHOD
    | numbers(
        layer="from 0",
        kept="neurons",
        density="kept / all",
        recall_at_k="of the block oracle's K",
        retained_energy="over the oracle's",
        token_mixing="score of the layer",
    ),
    "timings": METHOD
    | SPEED
    | numbers(
        flops_ratio="sparse block FFN FLOPs over dense",
        ideal="speedup if the FFNs took just their share of the FLOPs",
        threads="of the timing",
    )
    | texts(cpu="of the timing"),
    "kernels": texts(
        shape="published model",
        dtype="of weights and activations",
        backend="kernel",
        cpu="processor",
        git_sha="commit",
        device="cpu or a card's name",
        indices="`random`, or the plan whose sets were timed",
    )
    | numbers(
        block="tokens that share a set",
        tokens="tokens",
        sparsity="share of neurons left out",
        hot_fraction="share of kept neurons that is hot",
        group="neighbouring neurons kept together",
        threads="used",
        density="realised",
        ratio_eager="time of torch eager dense / sparse",
        ratio_compiled="of torch.compile dense / sparse",
        ratio_self="of the same kernel, all neurons / sparse",
        ideal="1 / density",
        p20="of ratio_eager",
        p80="of ratio_eager",
        gflops="useful, of the sparse call",
        peak_gflops="measured on this processor",
        seconds="sparse call, median",
        rounds="pairs",
        d="model width",
        f="neurons",
        peak_gbytes="memory bandwidth measured, GB/s",
        intensity="useful FLOP per byte that must be read or written",
    ),
    "speeds": texts(
        shape="published model",
        dtype="of weights",
        selector="name",
        compensator="name",
        cpu="processor",
        git_sha="commit",
        backend="kernel",
        weights="`random` or `loaded`",
        plan="`random`, or the plan's name",
    )
    | SPEED
    | numbers(
        sparsity="share of neurons skipped",
        block="tokens",
        rank="of the compensator",
        hot_fraction="share",
        group="neurons",
        threads="used",
        ffn_ratio="dense / sparse FFN time",
        ffn_dense_s="seconds",
        ideal="speedup if the FFNs took just their share of the FLOPs",
        flops_ratio="FFN FLOPs over dense",
        break_even_tokens="sparse is never slower from here",
    ),
    "unions": texts(model="name", text="kind of text", cpu="processor", git_sha="commit")
    | numbers(
        layer="from 0; empty for the mean",
        block="tokens that share a set",
        density="of a token's own top-K",
        union="share of neurons in any token's top-K",
        mass="share of the activations' energy in the block's top-K",
        mass_residual="the same of the energy that the surrogate leaves over",
        windows="held out",
        threads="used",
    ),
    "selections": texts(
        model="name",
        selector="name",
        compensator="name",
        scheduler="name",
        cpu="processor",
        git_sha="commit",
    )
    | texts(blocks="`consecutive` or `similar` tokens")
    | numbers(
        sparsity="share of neurons skipped",
        rank="of the compensator",
        block_size="tokens",
        threads="used",
        windows="held out",
        window_tokens="tokens",
        flops_ratio="FFN FLOPs over dense, all included",
        hot_fraction="share of kept neurons that every block keeps",
        group_size="neighbouring neurons kept together",
        kl="nats per token",
        kl_low="95% bootstrap",
        kl_high="95% bootstrap",
        kl_prose="KL on prose",
        kl_code="KL on code",
        ppl_ratio="sparse / dense",
    )
    | {"per_token": Column("flag", "the selector chooses for each token by itself: accuracy only")},
}


def documentation() -> str:
    """Every frame and its columns as Markdown, for docs/frames.md."""
    about = (
        "Made by `python -m ffanalysis.schema > docs/frames.md`; a test keeps it in step. Numbers are float64, missing "
        "ones NaN."
    )
    parts = ["# Data frames of `analysis`", "", about, ""]
    for name, columns in FRAMES.items():
        parts += [f"## {name}", "", "| column | kind | meaning |", "|---|---|---|"]
        parts += [
            f"| `{title}` | {column.kind} | {column.meaning} |" for title, column in columns.items()
        ] + [""]
    return "\n".join(parts).rstrip()


if __name__ == "__main__":
    print(documentation())
