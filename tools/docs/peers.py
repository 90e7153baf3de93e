"""The measured table of docs/peers.md, from benchmarks/results/peers.jsonl."""

from pathlib import Path

from ffanalysis import benches, peer_table


def table(root: Path) -> str:
    """One row per runtime of the newest run."""
    return peer_table.text(benches.lines(root / "benchmarks" / "results" / "peers.jsonl"))
