"""Which machine a row's times come from: times of different machines are never compared."""

import pandas as pd

# What names a machine. The instruction set is one of them because virtual machines hide the
# processor's model.
COLUMNS = ("device", "gpu", "cpu", "instruction_set", "threads")
# a run's device is torch's name of it; lines of benchmarks have the card's own name there
TORCH_DEVICES = ("cpu", "cuda", "mps")


def trusted_times(frame: pd.DataFrame) -> pd.Series:
    """Which rows name the machine of their times (the processor, and the card if one ran them) and
    had it to themselves.
    """
    rows = pd.Series(True, index=frame.index)
    if "busy" in frame:
        rows &= frame["busy"].map(lambda flag: flag is not True)
    if "cpu" in frame:
        rows &= frame["cpu"].notna()
    if "gpu" in frame and "device" in frame:
        on_card = frame["device"].astype(str).str.startswith("cuda")
        rows &= frame["gpu"].notna() | ~on_card
    return rows


def count(rows: pd.DataFrame) -> int:
    """How many machines the rows were timed on."""
    known = [column for column in COLUMNS if column in rows]
    return len(rows[known].drop_duplicates()) if known else 1


def name(row: pd.Series) -> str:
    """The card of a row, or its processor with instruction set and threads; a dash for neither."""
    for card in (row.get("gpu"), row.get("device")):
        if isinstance(card, str) and not card.startswith(TORCH_DEVICES):
            return card
    words = [str(row[part]) for part in ("cpu", "instruction_set") if pd.notna(row[part])]
    if pd.notna(row["threads"]):
        words.append(f"{row['threads']:g} thr.")
    return ", ".join(words) or "-"


def names(rows: pd.DataFrame) -> pd.Series:
    """The machine of each row as a title for its panels; missing if all rows have the same one."""
    texts: list[str | None] = [name(row) for _, row in rows.iterrows()]
    if len(set(texts)) < 2:
        texts = [None] * len(rows)
    return pd.Series(texts, index=rows.index, dtype=object)
