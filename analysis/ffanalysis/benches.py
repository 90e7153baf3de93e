"""Read the benchmarks' JSON Lines files (docs/result-schema.md) into tidy frames. Columns:
docs/frames.md.

A file that is not there makes an empty frame.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis.answer_files import answer_rows
from ffanalysis.frames import LoadError, from_rows
from ffanalysis.load import ideal_speedup

SELECTION = (
    "model",
    "selector",
    "compensator",
    "scheduler",
    "sparsity",
    "rank",
    "block_size",
    "blocks",
    "hot_fraction",
    "group_size",
    "windows",
)
BYTES = {"f32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "f16": 2, "float16": 2}


def needed(rows: list[dict[str, Any]], names: tuple[str, ...], path: Path) -> list[dict[str, Any]]:
    """The rows as they are. Raises LoadError naming the line and the fields it lacks."""
    for number, row in enumerate(rows, 1):
        lacking = [name for name in names if name not in row]
        if lacking:
            raise LoadError(f"{path} line {number}: missing {', '.join(lacking)}")
    return rows


def intensity(row: dict[str, Any]) -> float | None:
    """Useful FLOPs over the bytes that must move: input, output, and each block's kept rows of
    three matrices once.

    None where the line does not tell the shape.
    """
    if not all(row.get(name) for name in ("d", "f", "tokens", "block", "density")):
        return None
    size = BYTES[row["dtype"]]
    blocks = -(-row["tokens"] // row["block"])
    weights = 3 * row["d"] * row["f"] * row["density"] * blocks
    moved = size * (weights + 2 * row["tokens"] * row["d"])
    return float(6 * row["tokens"] * row["d"] * row["f"] * row["density"] / moved)


def kernels(folder: str | Path) -> pd.DataFrame:
    """One row a line of kernels.jsonl, as `python -m ffkernels.bench --output-dir` appends it."""
    path = Path(folder) / "kernels.jsonl"
    rows = needed(
        answer_rows(path),
        ("ratio_eager", "ideal", "gflops", "backend", "threads", "cpu", "shape"),
        path,
    )
    return from_rows(
        "kernels",
        [row | {"intensity": row.get("intensity") or intensity(row)} for row in rows],
        path,
    )


def speeds(folder: str | Path) -> pd.DataFrame:
    """One row a line and prompt length of speed.jsonl, as `python -m ffbench speed` appends it."""
    path, rows = Path(folder) / "speed.jsonl", []
    for line in needed(answer_rows(path), ("shape", "ffn", "ttft"), path):
        fixed = {name: value for name, value in line.items() if not isinstance(value, (list, dict))}
        for ffn, ttft in zip(line["ffn"], line["ttft"], strict=True):
            ratio = line.get("flops_ratio")
            share = ffn["dense_s"] / ttft["dense_s"] if ttft.get("dense_s") else None
            rows.append(
                fixed
                | ttft
                | {
                    "ffn_ratio": ffn["ratio"],
                    "ffn_dense_s": ffn["dense_s"],
                    "ideal": ttft.get("ideal") or ideal_speedup(share, ratio),
                }
            )
    return from_rows("speeds", rows, path)


def unions(folder: str | Path) -> pd.DataFrame:
    """One row a line of union.jsonl: how far the tokens of a block agree on their neurons."""
    path = Path(folder) / "union.jsonl"
    return from_rows("unions", answer_rows(path), path)


def selections(folder: str | Path) -> pd.DataFrame:
    """One row a setting of selectors.jsonl; the last line of each counts."""
    last: dict[tuple, dict[str, Any]] = {}
    path = Path(folder) / "selectors.jsonl"
    for line in needed(
        answer_rows(path), ("selector", "compensator", "scheduler", "fidelity"), path
    ):
        texts = line["fidelity"]
        row: dict[str, Any] = {"blocks": "consecutive"}
        row |= {name: value for name, value in line.items() if not isinstance(value, (list, dict))}
        row |= texts["mean"] | {
            f"kl_{kind}": texts[kind]["kl"] for kind in ("prose", "code") if kind in texts
        }
        row |= {
            "flops_ratio": (line.get("flops") or {}).get("ratio"),
            "per_token": line.get("block_wise") is False,
        }
        last[tuple(row.get(name) for name in SELECTION)] = row
    return from_rows("selections", list(last.values()), folder)
