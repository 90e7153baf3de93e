"""Figures from the frames of `analysis.load`. Each writes PNG and SVG, and says what it could not draw."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from analysis import style

CLAIMED_SPEEDUP, CLAIMED_LOSS = 1.45, 6.0
METHOD = ["selector", "compensator", "scheduler"]


class NothingToDraw(ValueError):
    """The runs hold no figure of this kind; the text says which settings would make one."""


def label_of(names: tuple) -> str:
    """A method's name in legends."""
    selector, compensator, scheduler = names
    return f"{selector} + {compensator}" + ("" if scheduler == "uniform" else f", {scheduler}")


def measured(frame: pd.DataFrame, columns: list[str], hint: str) -> pd.DataFrame:
    """Rows that have every one of `columns`. Raises NothingToDraw."""
    if not set(columns) <= set(frame.columns):
        raise NothingToDraw(hint)
    rows = frame.dropna(subset=columns)
    if rows.empty:
        raise NothingToDraw(hint)
    return rows


def errors(rows: pd.DataFrame, value: str, low: str, high: str, scale: float = 1.0) -> list[pd.Series]:
    """Lengths of error bars below and above."""
    return [(scale * (rows[value] - rows[low])).clip(lower=0), (scale * (rows[high] - rows[value])).clip(lower=0)]


def pareto(frame: pd.DataFrame, path: Path) -> None:
    """Loss (KL, and relative task loss) against measured TTFT speedup; dense is the point (1, 0).

    The paper's claims stand as grey marks in the right panel, labelled as claims: they are for LongBench on models
    up to 8B, not for this model and machine.
    """
    rows = measured(frame, ["ttft_speedup", "kl"], "no sparse run with speed and fidelity")
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for index, (names, group) in enumerate(rows.groupby(METHOD, sort=False)):
        group, look = group.sort_values("sparsity"), style.look(index)
        across = errors(group, "ttft_speedup", "ttft_p20", "ttft_p80")
        left.errorbar(group["ttft_speedup"], group["kl"], xerr=across, yerr=errors(group, "kl", "kl_low", "kl_high"),
                      label=label_of(names), capsize=2, **look)
        for _, row in group.iterrows():
            left.annotate(f" s={row['sparsity']:g}", (row["ttft_speedup"], row["kl"]), fontsize=8,
                          xytext=(4, 4), textcoords="offset points")
        scored = group.dropna(subset=["loss_rel"])
        right.errorbar(scored["ttft_speedup"], 100 * scored["loss_rel"],
                       yerr=errors(scored, "loss_rel", "loss_rel_low", "loss_rel_high", 100), capsize=2, **look)
    finish_pareto(left, right, rows)
    style.save(figure, Path(path))


def finish_pareto(left: Axes, right: Axes, rows: pd.DataFrame) -> None:
    """Labels, the dense point and the claims."""
    tokens = rows["ttft_tokens"].iloc[0]
    for axes in (left, right):
        axes.plot([1], [0], marker="*", color="black", markersize=11, linestyle="none", zorder=5)
        axes.annotate("dense", (1, 0), xytext=(6, 6), textcoords="offset points", fontsize=9)
        axes.set_xlabel(f"measured TTFT speedup at {tokens:.0f} tokens (p20 to p80)")
    left.set_ylabel("KL to dense, nats per token\n(95% interval over windows)")
    right.set_ylabel("relative task loss, %\n(95% paired bootstrap)")
    right.axhline(CLAIMED_LOSS, color=style.CLAIM, linestyle=":", linewidth=1)
    right.axvline(CLAIMED_SPEEDUP, color=style.CLAIM, linestyle=":", linewidth=1)
    right.annotate("paper's claims: 1.45x, under 6%\n(LongBench, up to 8B)", (CLAIMED_SPEEDUP, CLAIMED_LOSS),
                   xytext=(-6, 6), textcoords="offset points", fontsize=8, color="#555555", ha="right")
    left.legend(fontsize=8, loc="upper left")
    left.get_figure().suptitle(f"{rows['model'].iloc[0]}: loss against speedup")  # type: ignore[union-attr]
    left.get_figure().tight_layout()  # type: ignore[union-attr]


def loss_by_sparsity(frame: pd.DataFrame, path: Path) -> None:
    """Relative task loss and KL against sparsity, a line a method."""
    rows = measured(frame, ["kl"], "no sparse run with fidelity")
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for index, (names, group) in enumerate(rows.groupby(METHOD, sort=False)):
        group, look = group.sort_values("sparsity"), style.look(index)
        left.errorbar(group["sparsity"], group["kl"], yerr=errors(group, "kl", "kl_low", "kl_high"), capsize=2,
                      label=label_of(names), **look)
        scored = group.dropna(subset=["loss_rel"])
        right.errorbar(scored["sparsity"], 100 * scored["loss_rel"], capsize=2,
                       yerr=errors(scored, "loss_rel", "loss_rel_low", "loss_rel_high", 100), **look)
    left.set_ylabel("KL to dense, nats per token")
    right.set_ylabel("relative task loss, %")
    right.axhline(CLAIMED_LOSS, color=style.CLAIM, linestyle=":", linewidth=1, label="paper's claim at 0.5 (6%)")
    right.legend(fontsize=8)
    left.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("sparsity of the sparse blocks")
    figure.tight_layout()
    style.save(figure, Path(path))


def layer_recall(frame: pd.DataFrame, path: Path) -> None:
    """Recall and retained energy by layer; `frame` from `load.layers`."""
    rows = measured(frame, ["recall_at_k"], "no run with selector figures")
    style.use()
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharex=True)
    for index, (names, group) in enumerate(rows.groupby(["selector", "compensator", "sparsity"], sort=False)):
        for axes, column in zip(panels, ("recall_at_k", "retained_energy"), strict=True):
            means = group.groupby("layer")[column].mean()
            axes.plot(means.index, means, label=f"{names[0]} + {names[1]}, s={names[2]:g}",
                      **(style.look(index) | {"markersize": 3.5}))
    panels[0].set_ylabel("recall of the block oracle's K neurons")
    panels[1].set_ylabel("retained energy over the oracle's")
    for axes in panels:
        axes.set_xlabel("layer")
        axes.set_ylim(top=1.0)
    panels[1].legend(fontsize=8)
    figure.tight_layout()
    style.save(figure, Path(path))


def layer_density(frame: pd.DataFrame, path: Path) -> None:
    """Density of each layer by scheduler; `frame` from `load.layers`."""
    rows = measured(frame, ["density"], "no run with layer figures")
    style.use()
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for index, (names, group) in enumerate(rows.groupby(["scheduler", "sparsity"], sort=False)):
        means = group.groupby("layer")["density"].mean()
        axes.plot(means.index, means, label=f"{names[0]}, s={names[1]:g}", **(style.look(index) | {"markersize": 3.5}))
    axes.set_xlabel("layer")
    axes.set_ylabel("density (kept / all neurons)")
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=8)
    style.save(figure, Path(path))


def speed_by_length(frame: pd.DataFrame, path: Path) -> None:
    """TTFT speedup against prompt length, with the break-even line; `frame` from `load.timings`."""
    rows = measured(frame, ["ratio"], "no run with speed figures")
    style.use()
    figure, axes = plt.subplots(figsize=(7, 3.8))
    for index, (names, group) in enumerate(rows.groupby(["selector", "compensator", "sparsity"], sort=False)):
        group = group.sort_values("tokens")
        axes.errorbar(group["tokens"], group["ratio"], yerr=errors(group, "ratio", "p20", "p80"), capsize=2,
                      label=f"{names[0]} + {names[1]}, s={names[2]:g}", **style.look(index))
    axes.axhline(1, color="black", linewidth=1)
    axes.annotate("break-even", (rows["tokens"].min(), 1), xytext=(2, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("prompt length, tokens")
    axes.set_ylabel("TTFT speedup over dense (p20 to p80)")
    axes.legend(fontsize=8)
    style.save(figure, Path(path))


def task_losses(frame: pd.DataFrame, path: Path) -> None:
    """Small multiples: score of each task against sparsity, chance as a line; `frame` from `load.tasks`."""
    rows = measured(frame, ["score"], "no run with tasks")
    style.use()
    names = sorted(rows["task"].unique())
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(3.4 * columns, 2.8 * lines), squeeze=False)
    for axes, task in zip(grid.flat, names, strict=False):
        part = rows[rows["task"] == task]
        dense = part[part["sparsity"] == 0]
        for index, (method, group) in enumerate(part[part["sparsity"] > 0].groupby(METHOD, sort=False)):
            both = pd.concat([dense, group]).sort_values("sparsity")
            axes.errorbar(both["sparsity"], both["score"], capsize=2, label=label_of(method), **style.look(index),
                          yerr=errors(both.assign(low=both["score"] - (both["loss_abs_high"] - both["loss_abs"]),
                                                  high=both["score"] + (both["loss_abs"] - both["loss_abs_low"])),
                                      "score", "low", "high"))
        axes.axhline(part["chance"].iloc[0], color=style.CLAIM, linestyle=":", linewidth=1)
        axes.annotate("chance", (0, part["chance"].iloc[0]), xytext=(2, 3), textcoords="offset points", fontsize=8)
        axes.set_title(f"{task} (n = {part['n'].iloc[0]:.0f})", fontsize=9)
        axes.set_xlabel("sparsity")
        axes.set_ylim(bottom=0)
    for axes in list(grid.flat)[len(names):]:
        axes.set_visible(False)
    grid[0][0].set_ylabel("score, points\n(95% interval of the paired loss)")
    grid[0][0].legend(fontsize=7)
    figure.tight_layout()
    style.save(figure, Path(path))
