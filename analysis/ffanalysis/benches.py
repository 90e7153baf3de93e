"""Read the benchmarks' JSON Lines files (docs/result-schema.md) into tidy frames (docs/frames.md).

Lines of older formats get today's field names (`ffbench.runs.legacy`). A missing file makes an
empty frame.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis.answer_files import answer_rows
from ffanalysis.columns import TAIL_VALUES
from ffanalysis.frames import LoadError, from_rows
from ffanalysis.load import ideal_speedup
from ffbench.runs.legacy import current_line
from ffbench.runs.schema import TAILS

PUBLISHED = "published"
# what a line of kernels.jsonl is a measurement of
KERNEL_SETTINGS = (
    "shape",
    "dtype",
    "block_size",
    "group_size",
    "hot_fraction",
    "tokens",
    "sparsity",
    "threads",
    "backend",
    "indices",
    "device",
    "cpu",
)
SELECTION = (
    "model",
    "selector",
    "compensator",
    "scheduler",
    "sparsity",
    "parameters",
    "block_size",
    "blocks",
    "hot_fraction",
    "group_size",
    "metric",
    "windows_prompt",
    "windows_continuation",
)
# what both servers of one measurement have in common
LOAD = (
    *("command", "git_sha", "cpu", "vllm", "model", "plan", "round"),
    *("input_tokens", "output_tokens", "rate", "requests", "seed"),
)
PERCENTILES = ("ttft_p50_s", "ttft_p90_s", "ttft_p99_s")
TOKEN_PERCENTILES = ("tpot_p50_s", "tpot_p90_s", "tpot_p99_s")  # older lines do not have them
THROUGHPUTS = ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s")
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
TOKEN_BYTES = BYTES | {"int8": 4}  # int8 weights are benchmarked with float32 inputs
OVERLAP = {"union": "any_token", "mass": "energy", "mass_residual": "energy_residual"}


def lines(path: Path, required: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The lines of a file in today's names. Raises LoadError naming a line and what it lacks."""
    rows = [current_line(row) for row in answer_rows(path)]
    for number, row in enumerate(rows, 1):
        lacking = [name for name in required if name not in row]
        if lacking:
            raise LoadError(f"{path} line {number}: missing {', '.join(lacking)}")
    return rows


def flat(line: dict[str, Any]) -> dict[str, Any]:
    """The texts and numbers of a line, and its methods' parameters by dotted name."""
    row = {name: value for name, value in line.items() if not isinstance(value, (list, dict))}
    for kind, parameters in (line.get("parameters") or {}).items():
        row |= {f"{kind}.{name}": value for name, value in parameters.items()}
    return row


def intensity(row: dict[str, Any]) -> float | None:
    """Useful FLOPs over the bytes that must move: input, output, and each block's kept rows of
    three matrices once. None if the line does not have the shape.
    """
    if not all(row.get(name) for name in ("d", "f", "tokens", "block_size", "density")):
        return None
    blocks = -(-row["tokens"] // row["block_size"])
    weights = 3 * row["d"] * row["f"] * row["density"] * blocks
    moved = BYTES[row["dtype"]] * weights + TOKEN_BYTES[row["dtype"]] * 2 * row["tokens"] * row["d"]
    return float(6 * row["tokens"] * row["d"] * row["f"] * row["density"] / moved)


def kernels(folder: str | Path) -> pd.DataFrame:
    """One row per line of kernels.jsonl, which `python -m ffkernels.bench --output-dir` appends."""
    path = Path(folder) / "kernels.jsonl"
    needed = ("ratio_eager", "ideal", "gflops", "backend", "threads", "cpu", "shape")
    rows = [
        row | {"intensity": row.get("intensity") or intensity(row)} for row in lines(path, needed)
    ]
    return from_rows("kernels", [flat(row) for row in rows], path)


def speeds(folder: str | Path) -> pd.DataFrame:
    """One row per line and prompt length of speed.jsonl, from `python -m ffbench speed`."""
    path, rows = Path(folder) / "speed.jsonl", []
    for line in lines(path, ("shape", "ffn", "ttft")):
        for ffn, ttft in zip(line["ffn"], line["ttft"], strict=True):
            share = ffn["dense_s"] / ttft["dense_s"] if ttft.get("dense_s") else None
            ideal = ttft.get("ideal") or ideal_speedup(share, line.get("flops_ratio"))
            measured = {"ffn_ratio": ffn["ratio"], "ffn_dense_s": ffn["dense_s"], "ideal": ideal}
            # lines without a device are older than the first card
            rows.append({"device": "cpu"} | flat(line) | ttft | measured)
    return from_rows("speeds", rows, path)


def servings(folder: str | Path) -> pd.DataFrame:
    """One row per load of serve.jsonl that both servers answered, from `python -m ffbench
    serve-bench`: the sparse server's line with the dense one's times.
    """
    path, rows = Path(folder) / "serve.jsonl", []
    dense: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines(path, ("arm", "input_tokens", "rate", *PERCENTILES, *THROUGHPUTS)):
        load = tuple(str(line.get(name)) for name in LOAD)
        if line["arm"] == "dense":
            dense[load] = line
        elif load in dense:
            rows.append(serving(dense.pop(load), line))
    return from_rows("servings", rows, path)


def serving(dense: dict[str, Any], sparse: dict[str, Any]) -> dict[str, Any]:
    """One row of `servings`. The seed of the prompts is left out: it is none of a run."""
    row = {name: value for name, value in flat(sparse).items() if name not in ("arm", "seed")}
    row |= {f"{name}_dense": dense[name] for name in THROUGHPUTS}
    for name in (*PERCENTILES, *TOKEN_PERCENTILES):
        if dense.get(name) and sparse.get(name):
            row |= {
                f"{name}_dense": dense[name],
                f"{name[:-2]}_speedup": dense[name] / sparse[name],
            }
    throughput = "total_tokens_per_s"
    return row | {
        "throughput_ratio": sparse[throughput] / dense[throughput],
        "threads": (sparse.get("threads") or {}).get("torch"),
        "server_options": " ".join(sparse.get("server_options") or []),
        "server_environment": " ".join(
            f"{name}={value}" for name, value in (sparse.get("server_environment") or {}).items()
        ),
    }


def overlaps(folder: str | Path) -> pd.DataFrame:
    """One row per line of union.jsonl: how far the tokens of a block agree on their neurons."""
    path = Path(folder) / "union.jsonl"
    rows = [{OVERLAP.get(name, name): value for name, value in row.items()} for row in lines(path)]
    return from_rows("overlaps", rows, path)


def selections(folder: str | Path, file: str = "selectors.jsonl") -> pd.DataFrame:
    """One row per setting of selectors.jsonl, or of another `file` with such lines.

    The last line of each setting counts.
    """
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    path = Path(folder) / file
    for line in lines(path, ("selector", "compensator", "scheduler", "fidelity")):
        flops = line.get("flops") or {}
        row = {"blocks": "consecutive", "metric": "output"} | flat(line)
        row |= line_fidelity(line["fidelity"])
        row |= {
            "flops_ratio": flops.get("ratio"),
            "flops_selector": flops.get("selector"),
            "per_token": line.get("block_wise") is False or line.get("per_token") is True,
        }
        last[tuple(str({**line, **row}.get(name)) for name in SELECTION)] = row
    return from_rows("selections", list(last.values()), folder)


def line_fidelity(fidelity: dict[str, Any]) -> dict[str, Any]:
    """Fidelity of a line: by tail, or at the prompt's own positions in lines of schema 1."""
    if "mean" not in fidelity:
        row: dict[str, Any] = {"flops_used": fidelity.get("flops_used")}
        parts = dict(fidelity.get("tails") or {}) | {"prompt": fidelity.get("prompt") or {}}
    else:
        mean = fidelity["mean"]
        row = {"window_tokens": mean.get("window_tokens")}
        parts = {"prompt": mean | {"n": mean.get("windows")}}
        row |= {
            f"kl_prompt_{text}": fidelity[text]["kl"]
            for text in ("prose", "code")
            if text in fidelity
        }
    for tail in (*TAILS, "prompt"):
        values = parts.get(tail) or {}
        row |= {f"windows_{tail}": values.get("n")} if values else {}
        for field, short in TAIL_VALUES.items():
            row |= {
                f"{short}_{tail}{end}": values[field + end]
                for end in ("", "_low", "_high", "_worst")
                if values.get(field + end) is not None
            }
        if values.get("ppl_ratio") is not None:
            row[f"ppl_ratio_{tail}"] = values["ppl_ratio"]
    return row
