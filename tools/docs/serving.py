"""The measured table of docs/serving.md, from benchmarks/results/serve.jsonl."""

from pathlib import Path

import pandas as pd

from ffanalysis import benches, settings, tables
from ffanalysis.report import SERVING_COLUMNS


def newest(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the commit and processor that were measured last."""
    last = frame.iloc[-1]
    return frame[(frame["git_sha"] == last["git_sha"]) & (frame["cpu"] == last["cpu"])]


def table(root: Path) -> str:
    """One row per load: a dense and a sparse server's times to the first token."""
    frame = benches.servings(root / "benchmarks" / "results")
    if frame.empty:
        return "Not measured yet."
    rows = newest(frame)
    commands = dict.fromkeys(rows["command"])
    environments = dict.fromkeys(rows["server_environment"])
    first = rows.iloc[-1]
    facts = [
        str(first["cpu"]),
        f"{first['threads']:g} threads",
        f"vLLM {first['vllm']}",
        f"git {first['git_sha'][:10]}",
        *(text for text in environments if text),
    ]
    return "\n".join(
        [
            tables.markdown(rows, [*settings.differing(rows), *SERVING_COLUMNS]),
            "",
            *(f"`{command}`" for command in commands),
            "",
            f"{settings.fixed(rows)}; {', '.join(facts)}.",
        ]
    )
