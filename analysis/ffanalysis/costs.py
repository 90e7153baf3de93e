"""Where the seconds of a set of runs went."""

from collections.abc import Iterable, Mapping

LEAST = 0.5  # seconds below which a stage is not worth a word


def cost_line(costs: Iterable[Mapping[str, float | None]]) -> str:
    """Seconds by stage over several runs, the dearest stage first; empty if nothing took time.

    Runs that share a stage have the same seconds for it, those of the run that made it. They count
    once; different ones are joined by a plus.
    """
    stages: dict[str, dict[float, None]] = {}
    for cost in costs:
        for stage, seconds in cost.items():
            if seconds is not None and seconds >= LEAST:
                stages.setdefault(stage, {})[seconds] = None
    ordered = sorted(stages.items(), key=lambda item: -sum(item[1]))
    if not ordered:
        return ""
    parts = [f"{stage} {' + '.join(f'{one:.0f}' for one in each)}" for stage, each in ordered]
    total = sum(sum(each) for _, each in ordered)
    return f"seconds by stage: {', '.join(parts)}; {total:.0f} in all."
