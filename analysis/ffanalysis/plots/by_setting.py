"""Loss against one setting: sparsity, or block size with its speedups."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ffanalysis import machines
from ffanalysis.plots import claims, common, style


def lines(
    axes: Axes,
    group: pd.DataFrame,
    across: str,
    value: str,
    look: dict[str, Any],
    scale: float = 1.0,
    aside: float = 0.0,
) -> Any:
    """One method's line with its intervals, moved `aside` so that methods do not hide each other.

    Returns the legend's entry.
    """
    rows = group.dropna(subset=[value]).sort_values(across)
    return axes.errorbar(
        rows[across] + aside,
        scale * rows[value],
        capsize=2,
        elinewidth=1,
        yerr=common.errors(rows, value, f"{value}_low", f"{value}_high", scale),
        **look,
    )


def sparsity_panels(rows: pd.DataFrame, loss: str) -> list[tuple[str, float, str]]:
    """Column, scale and title of each panel; those that no row has are left out."""
    panels = [
        (loss, 1.0, common.axis_title(loss)),
        ("kl_copy", 1.0, common.axis_title("kl_copy")),
        ("nll_increase_rel", 100.0, "NLL of the gold answer, increase, %"),
        ("loss_rel", 100.0, common.RELATIVE_LOSS),
    ]
    return [panel for panel in panels if rows[panel[0]].notna().any()]


def loss_by_sparsity(frame: pd.DataFrame, path: Path) -> None:
    """KL, gold-answer NLL and task loss against sparsity, one line per method (`load.runs`)."""
    loss = common.headline_loss(frame)
    hint = f"no sparse run with fidelity: {common.SWEEP}"
    rows = common.measured(frame[frame["sparsity"] > 0], [loss], hint)
    rows, settings = common.same_settings(rows)
    common.several(rows["sparsity"].nunique(), "sparsity", common.SWEEP)
    rows = rows.assign(method=common.method_names(rows))
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, ("model", "task")))
    columns = sparsity_panels(rows, loss)
    figure, grid = style.panels(len(parts), len(columns), width=4 * len(columns))
    entries: dict[str, Any] = {}
    for (name, part), panels in zip(parts, grid, strict=True):
        methods = list(dict.fromkeys(part["method"]))
        for method, group in part.groupby("method", sort=False):
            aside = (methods.index(method) - (len(methods) - 1) / 2) * 0.006
            for axes, (column, scale, _) in zip(panels, columns, strict=True):
                entries[str(method)] = lines(
                    axes, group, "sparsity", column, looks[method], scale, aside
                )
        finish_sparsity(panels, columns, part, name)
    note = (
        f"{settings}. Methods are drawn next to each other at each sparsity. Bars: 95% bootstrap "
        f"over {common.windows_of(rows, loss)} (KL) and "
        f"{common.spread(rows, 'n')} records (tasks and their gold answers, paired). "
        f"{common.conditions(rows)}. {claims.TEXT}"
    )
    style.save(figure, path, "Loss against sparsity", note, entries)


def finish_sparsity(
    panels: Any, columns: list[tuple[str, float, str]], part: pd.DataFrame, name: str
) -> None:
    """Scales and labels of one row of sparsity panels."""
    levels = sorted(part["sparsity"].unique())
    for axes, (column, _, text) in zip(panels, columns, strict=True):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_ylabel(text)
        axes.set_xticks(levels, [f"{level:g}" for level in levels])
        axes.set_xlim(levels[0] - 0.06, levels[-1] + 0.06)
        axes.set_xlabel("sparsity of the sparse blocks")
        if column == "loss_rel":
            claims.loss(axes, "claim at\n0.5: <6%")
    panels[0].set_title(name, loc="left")


def block_size(frame: pd.DataFrame, path: Path) -> None:
    """KL, relative task loss and both speedups against block size, a line per method and
    sparsity.
    """
    loss, sweep = common.headline_loss(frame), "python -m ffbench +sweep=block_size"
    rows = common.measured(
        frame[frame["sparsity"] > 0],
        [loss, "block_size"],
        f"no sparse run with fidelity: {sweep}",
    )
    rows, settings = common.same_settings(rows, ("block_size",))
    names = common.method_names(rows, ("block_size",))
    rows = rows.assign(method=names + rows["sparsity"].map(lambda s: f", s={s:g}"))
    rows = rows.groupby(["model", "task", "method"]).filter(
        lambda group: group["block_size"].nunique() > 1
    )
    if rows.empty:
        raise common.NothingToDraw(f"all runs have one block size: {sweep}")
    rows = rows.assign(machine=[machines.name(row) for _, row in rows.iterrows()])
    usual = rows["machine"].mode().iloc[0]
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, ("model", "task")))
    figure, grid = style.panels(len(parts), 3, height=3.4, width=11)
    entries: dict[str, Any] = {}
    for (name, part), cells in zip(parts, grid, strict=True):
        for method, group in part.groupby("method", sort=False):
            entries[str(method)] = lines(cells[0], group, "block_size", loss, looks[method])
            lines(cells[1], group, "block_size", "loss_rel", looks[method], 100)
            timed = group[group["machine"] == usual]
            for measure, alpha in (("ttft", 1.0), ("ffn", 0.45)):
                block_speed(cells[2], timed, measure, looks[method] | {"alpha": alpha})
        finish_blocks(cells, part, name, loss)
    note = (
        f"{settings}. Right panel: times on {usual} only, faded the FFNs alone. Bars: 95% "
        f"bootstrap; speedups {common.brackets(rows, 'ttft_processes')}; "
        f"{common.windows_of(rows, loss)}, "
        f"{common.spread(rows, 'n')} records. {common.conditions(rows)}."
    )
    style.save(figure, path, "Block size against loss and speed", note, entries)


def block_speed(axes: Axes, group: pd.DataFrame, measure: str, look: dict[str, Any]) -> None:
    """One method's speedup against block size."""
    rows = group.dropna(subset=[f"{measure}_speedup"]).sort_values("block_size")
    axes.errorbar(
        rows["block_size"],
        rows[f"{measure}_speedup"],
        capsize=2.5,
        elinewidth=1,
        yerr=common.errors(rows, f"{measure}_speedup", f"{measure}_p20", f"{measure}_p80"),
        **look,
    )


def finish_blocks(cells: Any, part: pd.DataFrame, name: str, loss: str) -> None:
    """Scales and labels of one row of block-size panels."""
    sizes = sorted(part["block_size"].unique())
    for axes in cells:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("block size, tokens")
    cells[0].set_ylabel(common.axis_title(loss))
    cells[0].set_ylim(bottom=0)
    cells[0].set_title(name, loc="left")
    cells[1].set_ylabel(common.RELATIVE_LOSS)
    cells[1].axhline(0, color="black", linewidth=0.8)
    cells[2].axhline(1, color="black", linewidth=0.8)
    cells[2].set_ylabel(f"speedup at {common.spread(part, 'ttft_tokens')} tokens")
