"""The data frames of `ffanalysis`: their columns and what they mean.

Columns that a result has too take their meaning from `ffbench.runs.schema`.
"""

from dataclasses import dataclass

from ffbench.runs.records import meanings
from ffbench.runs.schema import (
    TAILS,
    AnswerRecord,
    FidelityRow,
    FlopsFields,
    LayerFields,
    LossFields,
    PromptFidelity,
    RunResult,
    SpeedRatio,
    TailFidelity,
    TaskFields,
)


@dataclass(frozen=True)
class Column:
    """`kind` is text, number or flag; `meaning` says what it holds, with its unit."""

    kind: str
    meaning: str


def numbers(**meaning: str) -> dict[str, Column]:
    """Number columns by name."""
    return {name: Column("number", text) for name, text in meaning.items()}


def texts(**meaning: str) -> dict[str, Column]:
    """Text columns by name."""
    return {name: Column("text", text) for name, text in meaning.items()}


def of(record: type, kind: str, *names: str) -> dict[str, Column]:
    """Columns named and explained as fields of a record; all of them without names."""
    known = meanings(record)
    return {name: Column(kind, known[name]) for name in names or known}


TAIL_VALUES = {"kl": "kl", "nll_increase": "nll_increase", "top1_agreement": "top1"}
ENDS = ("", "_low", "_high", "_worst")


def tail_columns() -> dict[str, str]:
    """Column of the frame `runs` -> meaning, for the fidelity of each tail and of the prompt."""
    out: dict[str, str] = {}
    known = meanings(TailFidelity)
    for tail in TAILS:
        for field, short in TAIL_VALUES.items():
            out |= {
                f"{short}_{tail}{end}": f"{tail}: {known[field + end]}"
                for end in ENDS
                if field + end in known
            }
        out[f"windows_{tail}"] = f"{tail}: {known['n']}"
    known = meanings(PromptFidelity)
    prompt = {f"kl_prompt{end}": known[f"kl{end}"] for end in ("", "_low", "_high")}
    prompt |= {
        "top1_prompt": known["top1_agreement"],
        "ppl_ratio_prompt": known["ppl_ratio"],
        "windows_prompt": known["n"],
    }
    return out | {name: f"sparse tokens themselves: {text}" for name, text in prompt.items()}


def speed_columns(prefix: str, what: str) -> dict[str, str]:
    """Columns of the frame `runs` for one speedup."""
    known = meanings(SpeedRatio)
    names = ("p20", "p80", "dense_s", "tokens", "processes")
    return (
        {f"{prefix}_speedup": f"{what}: {known['ratio']}"}
        | {f"{prefix}_{name}": f"{what}: {known[name]}" for name in names}
        | {f"{prefix}_own_dense": f"{what}: {known['own_dense_ratio']}"}
    )


def serving_times() -> dict[str, str]:
    """Columns of the frame `servings` for times to the first token and throughput."""
    out: dict[str, str] = {}
    for percentile in (50, 90, 99):
        name, what = f"ttft_p{percentile}", f"{percentile}th percentile of the time to first token"
        out |= {
            f"{name}_s": f"{what}, seconds",
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


METHOD = (
    of(RunResult, "text", "run_key", "model", "dtype", "device", "task", "protocol")
    | of(RunResult, "text", "selector", "compensator", "scheduler", "blocks", "calibration_text")
    | of(RunResult, "number", "block_size", "sparsity", "hot_fraction", "group_size", "seed")
)
LOSSES = {name: column for name, column in of(LossFields, "number").items() if name != "power"}
SPEED = of(SpeedRatio, "number")
MACHINE = texts(
    cpu="processor", instruction_set="of the kernels", backend="kernel that ran"
) | numbers(threads="CPU threads")
ORIGIN = texts(origin="`published` for this repository's committed lines, else empty")

RUNS = (
    METHOD
    | numbers(**tail_columns())
    | LOSSES
    | numbers(
        **speed_columns("ffn", "FFNs"),
        **speed_columns("ttft", "first token, at the first length"),
        **speed_columns("wide", "first token of the wide shape with random weights"),
        ffn_share="FFNs' share of the dense time to the first token",
        wide_ffn_share="the same at the wide shape",
        n_gold="records that the gold answers' NLL and perplexity are means over: all tasks",
        density_used="FFN neurons computed in the fidelity prompts over dense",
        flops_used="FFN FLOPs of the fidelity prompts over dense, all included",
        flops_ratio=f"FFN FLOPs of a sparse block over dense: {meanings(FlopsFields)['ratio']}",
        flops_selector="share of dense",
        flops_compensator="share of dense",
        scorer_failures=f"all tasks: {meanings(TaskFields)['scorer_failures']}",
        recall_at_k=meanings(RunResult)["recall_at_k"],
        retained_energy=meanings(RunResult)["retained_energy"],
        threads="CPU threads of the timings; of the run if nothing was timed",
        seconds="whole cost of the run, cached stages included",
    )
    | texts(
        cpu="processor of the timings; of the run if nothing was timed",
        gpu="name of the card that the run used; empty on a processor",
        instruction_set="of the kernels",
        backend="kernel that ran",
        wide_shape="published shape that was timed with random weights",
        text_part="part of the embedded text that KL was measured on: heldout or test",
        git_sha="commit",
        started="ISO time",
        command="the command that makes this run alone, or with its sweep without a sweep list",
    )
    | {
        "git_dirty": Column("flag", "uncommitted changes at the start"),
        "per_token": Column("flag", "the rule chooses per token: accuracy only"),
        "busy": Column("flag", "other work ran during the timings"),
    }
)
FRAMES: dict[str, dict[str, Column]] = {
    "runs": RUNS,
    "tasks": METHOD
    | of(TaskFields, "text", "metric", "category")
    | LOSSES
    | of(TaskFields, "number", "truncated", "tokens_cut", "prompt_tokens")
    | of(TaskFields, "number", "density_used", "flops_used", "scorer_failures")
    | of(TaskFields, "flag", "headline", "above_chance"),
    "groups": METHOD
    | texts(
        kind="`category` or `bucket`",
        group="name of the category, or lengths in words",
    )
    | LOSSES,
    "fidelity": METHOD
    | texts(text="kind of text; empty for all", tail="continuation, copy, question or prompt")
    | numbers(context="tokens of the sparse context; NaN for all")
    | of(TailFidelity, "number"),
    "windows": METHOD
    | of(FidelityRow, "text", "text", "document", "tail")
    | of(FidelityRow, "number", "context", "tokens", "kl", "nll_dense", "nll_sparse")
    | of(FidelityRow, "number", "top1_agreement"),
    "answers": of(RunResult, "text", "run_key")
    | of(AnswerRecord, "text", "task", "record_id", "prediction", "gold", "score_error")
    | of(AnswerRecord, "number", "score", "nll", "prompt_tokens", "tokens_cut", "length")
    | of(AnswerRecord, "number", "density", "seconds"),
    "layers": METHOD | of(LayerFields, "number"),
    "timings": METHOD
    | SPEED
    | numbers(
        flops_ratio="FFN FLOPs of a sparse block over dense",
        ideal="speedup if the FFNs took just their share of the FLOPs",
    )
    | MACHINE
    | texts(gpu="name of the card; empty on a processor"),
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
