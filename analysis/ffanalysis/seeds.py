"""Several seeds of one setting as one row: mean and interval over the seeds."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ffanalysis import machines, settings
from ffanalysis.formats import FORMATS

# Student's t, 97.5%, by degrees of freedom from 1 on; from the last on the value is kept, which
# makes intervals of many seeds up to 12% too wide, never too narrow
QUANTILES = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


def collapsed(frame: pd.DataFrame, within: Sequence[str] = ()) -> pd.DataFrame:
    """One row per setting, whatever its seed; `seeds` counts them, `seed` lists none.

    Rows must be equal in every setting but the seed, and in `within`, and have different seeds. A
    number becomes its mean over the seeds, its interval Student's 95% interval of that mean. Times
    of different machines have no mean and become missing. A frame without several seeds comes back
    as it is.
    """
    if "seed" not in frame or frame["seed"].nunique() < 2:
        return frame
    keys = [name for name in settings.columns(frame) if name != "seed"]
    keys += [name for name in within if name in frame and name not in keys]
    rows = []
    for _, group in frame.groupby(keys, dropna=False, sort=False):
        distinct = group["seed"].nunique() == len(group)
        parts = [group] if distinct else [group.iloc[[place]] for place in range(len(group))]
        rows += [merged(part, keys) if len(part) > 1 else single(part) for part in parts]
    return pd.DataFrame(rows, columns=[*frame.columns, "seeds", "run_keys"]).astype(
        {name: kind for name, kind in frame.dtypes.items() if kind == "float64"}
    )


def single(group: pd.DataFrame) -> dict[str, Any]:
    """A setting that was run with one seed."""
    row = dict(group.iloc[0])
    return row | {"seeds": 1.0, "run_keys": str(row.get("run_key", ""))}


def merged(group: pd.DataFrame, keys: Sequence[str]) -> dict[str, Any]:
    """One setting's row over its seeds."""
    row: dict[str, Any] = {name: group[name].iloc[0] for name in keys}
    for name in group:
        if name in keys:
            continue
        values = group[name]
        if name in machines.COLUMNS:
            row[name] = values.iloc[0] if values.nunique(dropna=False) == 1 else None
        elif pd.api.types.is_numeric_dtype(values):
            worst = str(name).endswith("_worst")
            row[name] = values.max() if worst else values.mean()
        else:
            distinct = list(dict.fromkeys(values.dropna()))
            row[name] = distinct[0] if len(distinct) == 1 else None
    one_machine = machines.count(group) == 1
    for name, how in FORMATS.items():
        if name in group and how.timed and not one_machine:
            row[name] = None
        if how.low in group and name in group:
            values = group[name].dropna() if one_machine or not how.timed else pd.Series()
            row[how.low], row[how.high] = interval(values)
    keys_of_runs = [str(key) for key in group["run_key"]] if "run_key" in group else []
    if keys_of_runs:
        row["run_key"] = f"{keys_of_runs[0]} and {len(keys_of_runs) - 1} more"
    return row | {"seed": None, "seeds": float(len(group)), "run_keys": " ".join(keys_of_runs)}


def interval(values: pd.Series) -> tuple[float | None, float | None]:
    """Student's 95% interval of the mean; none of fewer than two values."""
    count = len(values)
    if count < 2:
        return None, None
    half = QUANTILES[min(count - 2, len(QUANTILES) - 1)] * values.std(ddof=1) / count**0.5
    return float(values.mean() - half), float(values.mean() + half)
