# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Loss and speed against sparsity
# One row a run. Intervals: 95% bootstrap; speedups: p20 to p80 of paired rounds.

# %% tags=["parameters"]
output_dir = "outputs"
figures = "outputs/plots"

# %%
from pathlib import Path

from IPython.display import Image, Markdown, display

from analysis import load, plots, tables

frame = load.runs(output_dir)
display(Markdown(tables.markdown(frame)))

# %% [markdown]
# ## Loss against measured speedup

# %%
for name, draw, read in (("pareto", plots.pareto, load.runs), ("loss_by_sparsity", plots.loss_by_sparsity, load.runs),
                         ("tasks", plots.task_losses, load.tasks)):
    try:
        path = Path(figures) / f"{name}.png"
        draw(read(output_dir), path)
        display(Image(str(path)))
    except plots.NothingToDraw as reason:
        display(Markdown(f"*{name}: {reason}*"))
