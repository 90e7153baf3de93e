"""What a table says of answers that no scorer could take."""

import pandas as pd

COLUMN = "scorer_failures"


def scorer_note(frame: pd.DataFrame) -> str | None:
    """How many answers count 0 points because the scorer failed, and in which runs; None if none
    does. `frame` has one row per run, or several.
    """
    if COLUMN not in frame:
        return None
    counts = frame.groupby("run_key")[COLUMN].sum()
    counts = counts[counts > 0]
    if counts.empty:
        return None
    runs = ", ".join(f"{key} ({count:.0f})" for key, count in counts.items())
    return (
        f"note: scorers failed on answers, dense or sparse, which count 0 points here: run {runs}; "
        "score_error in answers.jsonl says why"
    )
