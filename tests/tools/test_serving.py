"""The table of docs/serving.md."""

import json
from pathlib import Path
from typing import Any

from tools.docs import serving

ROOT = Path(__file__).parents[2]
LINE: dict[str, Any] = {
    "round": 0,
    "input_tokens": 1024,
    "output_tokens": 16,
    "rate": 0.25,
    "requests": 24,
    "seed": 0,
    "requests_per_s": 0.25,
    "output_tokens_per_s": 4.0,
    "model": "m",
    "plan": "p",
    "selector": "trained",
    "compensator": "surrogate",
    "scheduler": "curvature",
    "parameters": {"compensator": {"rank": 64, "output_map_rank": 104}},
    "sparsity": 0.5,
    "block_size": 128,
    "cpu": "processor",
    "threads": {"torch": 2},
    "vllm": "0.32.0",
    "server_options": ["--dtype", "float32"],
    "server_environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    "command": "python -m ffbench serve-bench",
}


def pair(sha: str, dense: float, sparse: float) -> list[dict[str, Any]]:
    return [
        LINE
        | {"arm": arm, "git_sha": sha, "density": density, "total_tokens_per_s": 100 / seconds}
        | {f"ttft_p{p}_s": seconds * p / 50 for p in (50, 90, 99)}
        for arm, seconds, density in (("dense", dense, None), ("sparse", sparse, 0.625))
    ]


def test_the_newest_commits_loads(tmp_path: Path) -> None:
    assert serving.table(tmp_path) == "Not measured yet."
    path = tmp_path / "benchmarks" / "results" / "serve.jsonl"
    path.parent.mkdir(parents=True)
    lines = [*pair("old", 9.0, 8.0), *pair("new", 2.0, 1.6)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    head, _, *rows = serving.table(tmp_path).splitlines()
    assert head.startswith("| input tokens | requests/s | requests | round | dense TTFT p50, s |")
    (row,) = [row for row in rows if row.startswith("|")]
    assert row == (
        "| 1024 | 0.25 | 24 | 0 | 2.00 | 1.60 | 1.25 | 3.60 | 2.88 | 1.25 | 3.96 | 3.17 | 1.25 | "
        "50 | 62 | 0.625 |"
    )
    assert rows[-3] == "`python -m ffbench serve-bench`"
    assert rows[-1] == (
        "model m, sparsity 0.5, selector trained, compensator surrogate (rank 64, output_map_rank "
        "104), scheduler curvature, block 128; processor, 2 threads, vLLM 0.32.0, git new, VLLM_CPU_KVCACHE_SPACE=1."
    )


def test_committed_lines_hold_no_path_of_a_machine() -> None:
    path = ROOT / "benchmarks" / "results" / "serve.jsonl"
    for line in map(json.loads, path.read_text().splitlines()):
        words = [line["model"], *line["server_options"], *line["command"].split()]
        assert not [word for word in words if "/" in word.partition("=")[2][:1] or word[0] == "/"]
