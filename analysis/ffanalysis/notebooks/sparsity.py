# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Loss and speed against sparsity
# One row per run. Brackets and bars: 95% bootstrap; for speedups p20 to p80 of paired rounds.

# %% tags=["parameters"]
output_dir = "outputs"
bench_dir = None
published = None
folder = "outputs/plots"

# %%
from pathlib import Path

from ffanalysis.notebook import show, show_report
from ffanalysis.source import Source

source = Source(
    Path(output_dir),
    Path(bench_dir) if bench_dir else None,
    published=Path(published) if published else None,
)

# %% [markdown]
# ## Every run

# %%
show_report(source)

# %% [markdown]
# ## Loss against measured speedup

# %%
show("pareto", source, folder)

# %% [markdown]
# ## Loss against sparsity

# %%
show("loss_by_sparsity", source, folder)

# %% [markdown]
# ## Block size

# %%
show("block_size", source, folder)

# %% [markdown]
# ## Task by task

# %%
show("tasks", source, folder)
