"""The data frames that are read from run folders: their columns and what they mean.

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
    PromptFidelity,
    RunResult,
    SpeedRatio,
    TailFidelity,
)
from ffbench.runs.score_fields import LossFields, TaskFields


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
RUN_FRAMES: dict[str, dict[str, Column]] = {
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
}
