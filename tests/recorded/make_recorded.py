"""Make the recorded runs that the analysis tests and notebooks are executed on: python
tests/recorded/make_recorded.py

They are test recordings, not measurements: values follow simple formulas with seeded noise, so that
every picture has something plausible to draw. Model and processor are named so that no picture of
them can pass for a result."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from made_lines import kernel_lines, selection_lines, serve_lines, speed_lines, union_lines
from made_results import CPU, DEFAULTS, MODEL, PARAMETERS, SHA, result

HERE = Path(__file__).parent


def settings() -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """Sweep name, overrides and settings of every run."""
    yield "sparsity", ["sparsity=0"], {"sparsity": 0.0}
    for sparsity in (0.3, 0.5, 0.7):
        for selector, compensator in (
            ("trained", "surrogate"),
            ("static", "surrogate"),
            ("trained", "surrogate tuned"),
            ("static", "none"),
        ):
            yield (
                "sparsity",
                [
                    f"sparsity={sparsity}",
                    *words("selector", selector),
                    *words("compensator", compensator),
                ],
                {"sparsity": sparsity, "selector": selector, "compensator": compensator},
            )
    for selector in (
        "random",
        "weight_norm",
        "griffin first",
        "griffin previous",
        "probe",
        "oracle",
    ):
        yield "selectors", words("selector", selector), {"selector": selector}
    for scheduler in ("token_mixing", "sensitivity"):
        yield "schedulers", [f"scheduler={scheduler}"], {"scheduler": scheduler}
    for block in (32, 64, 256, 512):
        yield "block_size", [f"block_size={block}"], {"block_size": block}
    yield "pareto", ["group_size=32"], {"group_size": 32}
    yield "pareto", ["selector.hot_fraction=0.5"], {"hot_fraction": 0.5}
    for sparsity in (0.0, 0.3, 0.5):
        yield (
            "longbench",
            ["task=longbench_e", f"sparsity={sparsity}"],
            {"task": "longbench_e", "sparsity": sparsity},
        )
    yield "selectors", ["selector=wina_rule"], {"selector": "wina_rule"}
    for seed in (1, 2):
        yield "seeds", [f"seed={seed}"], {"seed": seed}


def words(kind: str, name: str) -> list[str]:
    """The overrides that set a method."""
    parameters = {
        "griffin previous": ["block=previous"],
        "surrogate tuned": ["output_map_rank=104", "tune_steps=120"],
    }.get(name, [])
    return [f"{kind}={name.split()[0]}", *(f"{kind}.{word}" for word in parameters)]


def answers(figures: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Six records per task around its score."""
    draw = random.Random(f"answers {key}")
    return [
        {
            "task": task,
            "record_id": f"{task}-{number}",
            "prediction": f"answer {number} of {key}",
            "gold": f"gold {number}",
            "score": min(100.0, max(0.0, draw.gauss(one["score"], 20))),
            "nll": max(0.0, draw.gauss(one["nll"], 0.3)),
            "prompt_tokens": 1800 + number,
            "tokens_cut": 0,
            "length": 1200 + number,
            "seconds": 2.0,
        }
        for task, one in figures["tasks"].items()
        for number in range(6)
    ]


def config(s: dict[str, Any]) -> dict[str, Any]:
    """The nested configuration of one run."""
    return {
        "model": {"name": MODEL, "dtype": "float32", "device": "cpu"},
        **{
            kind: {"name": s[kind].split()[0]} | PARAMETERS.get(s[kind], {})
            for kind in ("selector", "compensator", "scheduler")
        },
        "hot_fraction": s["hot_fraction"],
        "task": {"name": s["task"], "limit": 24, "protocol": "whole"},
        "sparsity": s["sparsity"],
        "blocks": "consecutive",
        "objective": {"continuation": 1.0, "copy": 1.0, "full": 0.0},
        "fidelity": {"part": "heldout"},
        "block_size": s["block_size"],
        "group_size": s["group_size"],
        "seed": s["seed"],
        "output_dir": "outputs",
    }


def write(path: Path, value: Any) -> None:
    """One JSON object, rounded to six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(value)) + "\n")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(rounded(row)) + "\n" for row in rows))


def rounded(value: Any) -> Any:
    """Floats to six significant digits, so that the recordings are the same on every machine."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def make(folder: Path) -> None:
    """Write every recording into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    sweeps: dict[str, list[dict[str, Any]]] = {}
    for number, (sweep, overrides, changes) in enumerate(settings(), 1):
        key, s = f"{number:016x}", DEFAULTS | changes
        figures, run = result(key, s), folder / "runs" / f"{number:016x}"
        write(run / "result.json", figures)
        write(run / "config.json", config(s))
        write(
            run / "provenance.json",
            {
                "git_sha": SHA,
                "git_dirty": False,
                "cpu": CPU,
                "recording": "test, not measured",
                "command": ["python", "-m", "ffbench", f"+sweep={sweep}"],
                "started": f"2026-01-01T00:{number:02}:00+00:00",
            },
        )
        sweeps.setdefault(sweep, []).append({"run_key": key, "overrides": overrides})
        if not s["sparsity"] and s["task"] == "embedded":
            write_lines(
                folder / "stages" / "answers" / "recorded" / "answers.jsonl",
                answers(figures, "dense"),
            )
        elif sweep in ("sparsity", "seeds") and s["sparsity"] == 0.5:
            write_lines(run / "answers.jsonl", answers(figures, key))
    for name, jobs in sweeps.items():
        write(
            folder / "sweeps" / f"{name}.json",
            {"name": name, "created": "2026-01-01T00:00:00+00:00", "jobs": jobs},
        )
    for name, rows in (
        ("kernels", kernel_lines()),
        ("speed", speed_lines()),
        ("serve", serve_lines()),
        ("union", union_lines()),
        ("selectors", selection_lines()),
    ):
        write_lines(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    make(HERE / "data")
