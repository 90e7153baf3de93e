"""The table of peers.jsonl: time to first token of the same weights in several runtimes."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from ffanalysis.tables import grid

Line = dict[str, Any]
HEADS = (
    "runtime",
    "precision",
    "weights",
    "TTFT, s ↓",
    "speedup over torch eager (p20 to p80) ↑",
    "same next token as float32 dense ↑",
)


def newest_run(lines: Sequence[Line]) -> list[Line]:
    """The lines of the run that was measured last, the last one of each runtime and session."""
    if not lines:
        return []
    run = lines[-1]["run"]
    kept = {line["key"]: line for line in lines if line["run"] == run}
    return list(kept.values())


def pairs(lines: Iterable[Line]) -> list[tuple[float, float]]:
    """(reference seconds, own seconds) of every prompt that both were timed on."""
    return [
        (base, own)
        for line in lines
        for base, own in zip(line["reference_seconds"], line["seconds"], strict=True)
        if base is not None and own is not None
    ]


def agreement(lines: Iterable[Line]) -> tuple[int, int]:
    """How many next tokens are the reference's, of how many that both gave."""
    both = [
        (base, own)
        for line in lines
        for base, own in zip(line["reference_tokens"], line["next_tokens"], strict=True)
        if base is not None and own is not None
    ]
    return sum(base == own for base, own in both), len(both)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, 20th and 80th percentile (nearest ranks)."""
    ordered, last = sorted(values), len(values) - 1
    return (
        statistics.median(ordered),
        ordered[round(0.2 * last)],
        ordered[round(0.8 * last)],
    )


def row(lines: Sequence[Line]) -> list[str]:
    """The cells of one runtime, from its lines of every session."""
    first, measured, (same, of) = lines[0], pairs(lines), agreement(lines)
    facts = first.get("facts") or {}
    precision = first["precision"]
    if "inference_precision" in facts:
        group = facts["dynamic_quantization_group"]
        activations = f", 8-bit activations in groups of {group}" if group else ""
        precision = f"{facts['inference_precision']}{activations}"
    head = [first["peer"], precision, first["weights"]]
    if not measured:
        reason = next((line["reason"] for line in lines if line["reason"]), "no answer")
        return [*head, "-", f"not measured: {reason}", "-"]
    middle, low, high = spread([base / own for base, own in measured])
    return [
        *head,
        f"{statistics.median(own for _, own in measured):.2f}",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        f"{same} of {of}" if of else "-",
    ]


def conditions(lines: Sequence[Line]) -> str:
    """Model, sizes, machine, versions and command of one run."""
    first = lines[0]
    versions = sorted(
        {
            f"{line['facts']['runtime']} {line['facts']['version']}"
            for line in lines
            if line["facts"]
        }
    )
    sessions = len({line["session"] for line in lines})
    busy = " **The machine was busy: do not trust the times.**" if busy_in(lines) else ""
    return (
        f"`{first['command']}`: {first['model']}, {first['prompt_tokens']} tokens, "
        f"{len(first['seconds'])} timed prompts in each of {sessions} session"
        f"{'s' if sessions > 1 else ''}, {first['threads']} thread"
        f"{'s' if first['threads'] > 1 else ''}, {first['cpu']}, git "
        f"{str(first['git_sha'])[:10]}{'+' if first['git_dirty'] else ''}. {'; '.join(versions)}."
        f"{busy}"
    )


def busy_in(lines: Iterable[Line]) -> bool:
    """Whether other work ran on the machine in some session."""
    return any(line.get("busy") for line in lines)


def text(lines: Sequence[Line]) -> str:
    """The table of the newest run, with its conditions; says so if there is none."""
    newest = newest_run(lines)
    if not newest:
        return "Not measured yet."
    names = dict.fromkeys(line["peer"] for line in newest)
    rows = [row([line for line in newest if line["peer"] == name]) for name in names]
    return "\n".join([grid(list(HEADS), rows), "", conditions(newest)])
