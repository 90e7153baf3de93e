"""The kernels: speedup over dense FFNs, and the roofline. Frames from
`ffanalysis.benches.kernels`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis.benches import KERNEL_SETTINGS
from ffanalysis.plots import common, style
from ffanalysis.settings import in_words

SETTINGS = (*KERNEL_SETTINGS, "instruction_set", "origin")
HINT = "no lines in kernels.jsonl: python -m ffkernels.bench --output-dir outputs"
HOLLOW = {"linestyle": "none", "markerfacecolor": "none", "markeredgewidth": 1.8, "markersize": 8}
PEAK = "measured peak: best square torch GEMM"
BASELINES = {
    "ratio_eager": "torch eager dense",
    "ratio_compiled": "torch.compile dense",
    "ratio_self": "same kernel, dense",
}


def labels(rows: pd.DataFrame) -> pd.Series:
    """Settings of each line in words; those that are the same everywhere are left out."""
    names = rows["shape"].astype(str)
    words = (
        ("dtype", "{}"),
        ("block_size", "block {}"),
        ("group_size", "groups of {}"),
        ("hot_fraction", "hot {}"),
        ("tokens", "{} tokens"),
        ("sparsity", "s={}"),
        ("threads", "{} threads"),
        ("backend", "{}"),
        ("device", "{}"),
        ("indices", "{} sets"),
        ("instruction_set", "{}"),
        ("origin", "{}"),
    )
    for column, word in words:
        if rows[column].nunique() > 1 or column in ("dtype", "block_size", "origin"):
            names += rows[column].map(
                lambda value, word=word: (
                    ", " + word.format(in_words(value)) if pd.notna(value) else ""
                )
            )
    return names.str.replace(r"groups of 1(?=,|$)", "single neurons", regex=True)


def last_lines(frame: pd.DataFrame) -> pd.DataFrame:
    """The last line of each setting; a file is appended to.

    Older lines lack the instruction set: they are taken to have that of newer lines that are equal
    otherwise.
    """
    settings = [name for name in SETTINGS if name in frame]
    others = [name for name in settings if name != "instruction_set"]
    known = frame.groupby(others, dropna=False)["instruction_set"].transform("first")
    filled = frame.assign(instruction_set=frame["instruction_set"].fillna(known))
    return frame.loc[filled.drop_duplicates(settings, keep="last").index]


def kernel_speedups(frame: pd.DataFrame, path: Path) -> None:
    """Speedup of each setting over three dense FFNs, with the ideal 1 / density."""
    rows = (
        last_lines(common.measured(frame, ["ratio_eager"], HINT))
        .sort_values(["shape", "dtype", "block_size", "group_size", "hot_fraction"], kind="stable")
        .reset_index(drop=True)
    )
    figure, ((axes,),) = style.panels(height=1.2 + 0.3 * len(rows))
    entries: dict[str, Any] = {}
    places = np.arange(len(rows))
    for number, (column, name) in enumerate(BASELINES.items()):
        bars = common.errors(rows, column, "p20", "p80") if column == "ratio_eager" else None
        look = style.series_style(number) | {"linestyle": "none"}
        entries[f"over {name}"] = axes.errorbar(
            rows[column], places + 0.18 * (number - 1), xerr=bars, capsize=2, elinewidth=1, **look
        )
    entries["ideal: 1 / density"] = axes.plot(
        rows["ideal"], places, marker="|", color="black", linestyle="none", markersize=13
    )[0]
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, labels(rows), fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("speedup of the sparse FFN (right: faster)")
    note = (
        f"s = {common.spread(rows, 'sparsity')}, {common.spread(rows, 'tokens')} tokens, sets: "
        f"{common.values(rows, 'indices') or 'random'}; bars: p20 to p80 of "
        f"{common.spread(rows, 'rounds')} interleaved pairs. Above the ideal, the sparse kernel is "
        "faster than that dense FFN by more than the work it skips. "
        f"{common.conditions(rows)}."
    )
    style.save(figure, path, "Sparse FFN against dense ones", note, entries)


def roofline(frame: pd.DataFrame, path: Path) -> None:
    """Useful GFLOP/s against FLOPs per byte under the measured peak.

    One panel per dtype, thread count and processor.
    """
    rows = last_lines(common.measured(frame, ["gflops", "peak_gflops"], HINT))
    if rows["intensity"].isna().all():
        raise common.NothingToDraw(
            "the lines of kernels.jsonl lack the shape (d, f), so FLOPs per byte are unknown; "
            "measure again: python -m ffkernels.bench --output-dir outputs"
        )
    rows = rows.dropna(subset=["intensity"]).copy()
    rows["place"] = rows["dtype"] + rows["threads"].map(
        lambda n: f", {n:g} thread" + ("s" if n != 1 else "")
    )
    if rows["device"].nunique() > 1 or rows["cpu"].nunique() > 1:
        rows["place"] += ", " + rows["device"].where(rows["device"].notna(), rows["cpu"])
    rows["series"] = rows["shape"] + rows["group_size"].map(
        lambda n: ", single neurons" if n <= 1 else f", groups of {n:g}"
    )
    rows["series"] += rows["origin"].map(lambda text: f", {text}" if text else "").fillna("")
    looks, parts = style.styles(rows["series"]), list(common.facets(rows, ("place",)))
    columns = min(2, len(parts))
    figure, grid = style.panels(
        -(-len(parts) // columns), columns, height=3.7, width=style.WIDTH if columns > 1 else 7
    )
    entries: dict[str, Any] = {}
    for (name, part), axes in zip(parts, grid.flat, strict=False):
        roof(axes, part, entries)
        for series, group in part.groupby("series", sort=False):
            entries[str(series)] = axes.plot(
                group["intensity"], group["gflops"], **(looks[series] | HOLLOW)
            )[0]
        shares = (100 * part["gflops"] / part["peak_gflops"]).round()
        axes.set_title(
            f"{name}: {common.spread(shares.to_frame('of'), 'of')}% of that peak", loc="left"
        )
    for axes in list(grid.flat)[len(parts) :]:
        axes.set_visible(False)
    note = (
        "Useful FLOPs over the bytes that must move: input, output, and each block's kept rows "
        f"once (blocks of {common.values(rows, 'block_size')}). Peaks measured in the same "
        f"process. s = {common.spread(rows, 'sparsity')}. {common.conditions(rows)}."
    )
    style.save(figure, path, "Roofline of the sparse FFN", note, entries)


def roof(axes: Any, part: pd.DataFrame, entries: dict[str, Any]) -> None:
    """The measured peaks of compute and, where it was measured, of memory."""
    peak, bandwidth = part["peak_gflops"].max(), part["peak_gbytes"].max()
    low, high = part["intensity"].min() / 3, part["intensity"].max() * 3
    if pd.notna(bandwidth):
        low = min(low, peak / bandwidth / 3)
        across = np.geomspace(low, high, 100)
        entries.setdefault(
            PEAK,
            axes.plot(across, np.minimum(peak, bandwidth * across), color="black", linewidth=1.5)[
                0
            ],
        )
        axes.annotate(
            f"{bandwidth:.0f} GB/s",
            (low, bandwidth * low),
            xytext=(2, 8),
            textcoords="offset points",
            fontsize=8,
        )
    else:
        entries.setdefault(
            PEAK, axes.plot([low, high], [peak, peak], color="black", linewidth=1.5)[0]
        )
    axes.annotate(
        f"{peak:.0f} GFLOP/s",
        (high, peak),
        xytext=(-2, 4),
        textcoords="offset points",
        fontsize=8,
        ha="right",
    )
    top = max(peak, part["gflops"].max())
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if pd.notna(bandwidth):
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(part["gflops"].min() / 2, top * 1.6)
    else:
        axes.set_ylim(0, top * 1.15)
    axes.set_xlabel("useful FLOP per byte")
    axes.set_ylabel("useful GFLOP/s")
