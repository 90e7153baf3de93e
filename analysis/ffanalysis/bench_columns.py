"""The data frames that are read from benchmark lines: their columns and what they mean."""

from itertools import product

from ffanalysis.columns import (
    MACHINE,
    RUN_FRAMES,
    SPEED,
    Column,
    numbers,
    tail_columns,
    texts,
)

ORIGIN = texts(origin="`published` for this repository's committed lines, else empty")


def serving_times() -> dict[str, str]:
    """Columns of the frame `servings` for times per token and throughput."""
    out: dict[str, str] = {}
    times = {"ttft": "to first token", "tpot": "per further token"}
    for (time, what), percentile in product(times.items(), (50, 90, 99)):
        name = f"{time}_p{percentile}"
        out |= {
            f"{name}_s": f"{percentile}th percentile of the time {what}, seconds",
            f"{name}_s_dense": "the same of the dense server",
            f"{name}_speedup": "dense / sparse",
        }
    for name, what in (
        ("requests_per_s", "requests answered a second"),
        ("output_tokens_per_s", "tokens decoded a second"),
        ("total_tokens_per_s", "tokens of prompts and answers a second"),
    ):
        out |= {name: what, f"{name}_dense": "the same of the dense server"}
    return out


BENCH_FRAMES: dict[str, dict[str, Column]] = {
    "kernels": texts(
        shape="published model",
        dtype="of the weights",
        git_sha="commit",
        indices="`random`, or the plan whose recorded sets were timed",
        device="cpu or a card",
    )
    | MACHINE
    | ORIGIN
    | numbers(
        block_size="tokens",
        group_size="neurons",
        tokens="tokens",
        sparsity="share of neurons skipped",
        hot_fraction="share of kept neurons that every block keeps",
        density="share kept",
        ratio_eager="torch eager dense / sparse",
        ratio_compiled="torch.compile dense / sparse",
        ratio_self="same kernel with every neuron kept / sparse",
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
        dtype="of the weights",
        selector="name",
        compensator="name",
        scheduler="name",
        git_sha="commit",
        device="cpu or a card",
        weights="`random` or `loaded`",
        plan="`random`, or the plan's name",
    )
    | MACHINE
    | ORIGIN
    | SPEED
    | numbers(
        layers="layers that were built",
        sparsity="share of neurons skipped",
        block_size="tokens",
        hot_fraction="share of kept neurons that every block keeps",
        group_size="neurons",
        ffn_ratio="dense / sparse FFN time",
        ffn_dense_s="seconds",
        ideal="speedup if the FFNs took just their share of the FLOPs",
        flops_ratio="FFN FLOPs of a sparse block over dense",
        break_even_tokens="sparse is never slower from here",
    )
    | {"busy": Column("flag", "other work ran during the timings")},
    "servings": texts(
        model="folder or hub id that was served",
        plan="the plan's name",
        selector="name",
        compensator="name",
        scheduler="name",
        device="cpu or cuda",
        gpu="name of the card; empty on a processor",
        cpu="processor",
        vllm="release",
        server_options="of both servers",
        server_environment="variables of vLLM's CPU servers",
        git_sha="commit",
        command="the serve-bench that measured it",
    )
    | ORIGIN
    | numbers(
        sparsity="share of neurons skipped",
        block_size="tokens",
        threads="CPU threads of torch where serve-bench ran",
        round="turn of dense and sparse, from 0",
        input_tokens="tokens of each prompt",
        output_tokens="tokens of each answer",
        rate="requests a second on average; 0: all at once",
        requests="how many",
        density="share of the FFN's neurons computed for prompts, as the sparse server counted",
        **serving_times(),
        throughput_ratio="sparse / dense total_tokens_per_s",
    ),
    "overlaps": texts(model="name", text="kind of text", cpu="processor", git_sha="commit")
    | ORIGIN
    | numbers(
        layer="from 0; empty for the mean",
        block_size="tokens that share a set",
        density="of a token's own top-K",
        any_token="share of neurons in any token's top-K",
        energy="share of the activations' energy in the block's top-K",
        energy_residual="the same of the energy that the surrogate leaves over",
        windows="held out",
        threads="CPU threads",
    ),
    "selections": texts(
        model="name",
        selector="name",
        compensator="name",
        scheduler="name",
        blocks="`consecutive` or `similar` tokens",
        cpu="processor",
        git_sha="commit",
    )
    | ORIGIN
    | numbers(**tail_columns())
    | numbers(
        sparsity="share of neurons skipped",
        block_size="tokens",
        threads="CPU threads",
        window_tokens="tokens",
        flops_ratio="FFN FLOPs of a sparse block over dense, all included",
        flops_selector="of the selector alone, share of dense",
        flops_used="FFN FLOPs of the whole prompts over dense, all included",
        hot_fraction="share of kept neurons that every block keeps",
        group_size="neighbouring neurons kept together",
        kl_prompt_prose="KL on prose",
        kl_prompt_code="KL on code",
    )
    | {"per_token": Column("flag", "the rule chooses per token: accuracy only")},
}

# every frame of ffanalysis
FRAMES = RUN_FRAMES | BENCH_FRAMES
