"""What a tracker gets from a finished run: always from its files, so a later sync sends the
same.
"""

from pathlib import Path
from typing import Any

from ffbench.runs.run_folder import RunFolder
from ffbench.tracking.base import Tracker

PICTURES = (".png", ".jpg", ".jpeg")


def metrics(result: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a result.json, nested as there; the lists and texts, which go to tables, are left
    out.
    """
    out: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, dict):
            inner = metrics(value)
            if inner:
                out[name] = inner
        elif isinstance(value, (int, float)):
            out[name] = value
    return out


def flat(metrics: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings joined with '/'; None is left out, since trackers have no null value."""
    out: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{name}/")
        elif value is not None:
            out[prefix + name] = value
    return out


def objective(kl: float | None, flops_ratio: float | None) -> float | None:
    """One number for a search over plans (our design): KL to dense in nats per token + sparse FFN
    FLOPs over dense.

    None if either was not measured. During a run `kl` is the mean over the windows so far.
    """
    return None if kl is None or flops_ratio is None else kl + flops_ratio


def result_objective(result: dict[str, Any]) -> float | None:
    """`objective` of a result.json."""
    tails = (result.get("fidelity") or {}).get("tails") or {}
    values = [tail["kl"] for tail in tails.values() if tail.get("kl") is not None]
    kl = sum(values) / len(values) if values else None
    return objective(kl, (result.get("flops") or {}).get("ratio"))


def tables(
    result: dict[str, Any], answers: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables `tasks`, `layers`, `ttft` and `answers`; a table without rows is left
    out.
    """
    speed = result.get("speed") or {}
    all_tables = {
        "tasks": [{"task": name} | row for name, row in (result.get("tasks") or {}).items()],
        "layers": result.get("layers") or [],
        "ttft": speed.get("ttft") or [],
        "answers": answers,
    }
    return {name: rows for name, rows in all_tables.items() if rows}


def mirror(tracker: Tracker, run: RunFolder) -> None:
    """Send metrics, tables, pictures and the plan of a done run; call it after
    `run.finish(result)`.

    Raises:
        StoreError: the run is not done, or a file of it is damaged.

    """
    result = run.result()
    tracker.summary(
        metrics(result)
        | {
            "objective": result_objective(result),
            "provenance": provenance_fields(run.provenance()),
        }
    )
    for name, rows in tables(result, run.answers()).items():
        tracker.table(name, rows)
    for picture in pictures(run.path):
        tracker.image(picture.stem, picture)
    if (run.path / "plan").is_dir():
        tracker.artifact(run.path / "plan")


def provenance_fields(provenance: dict[str, Any]) -> dict[str, Any]:
    """Provenance as W&B shows it: texts and numbers, lists as one text."""
    return {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in provenance.items()
        if name != "earlier"
    }


def pictures(folder: Path) -> list[Path]:
    """Picture files in a run folder and in its `plots` folder."""
    return sorted(
        path
        for place in (folder, folder / "plots")
        if place.is_dir()
        for path in place.iterdir()
        if path.suffix in PICTURES
    )
