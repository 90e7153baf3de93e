# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Selectors and schedulers by layer
# Recall of the block oracle's neurons, retained energy, and the density that each scheduler gives a
# layer.

# %% tags=["parameters"]
output_dir = "outputs"
bench_dir = "benchmarks/results"
folder = "outputs/plots"

# %%
from pathlib import Path

from ffanalysis.figures import Source
from ffanalysis.notebook import show, table

source = Source(Path(output_dir), Path(bench_dir))

# %% [markdown]
# ## What each scheduler gives a layer

# %%
show("layer_density", source, folder)

# %% [markdown]
# ## How near a selector comes to the oracle

# %%
show("layer_recall", source, folder)

# %% [markdown]
# ## How far the tokens of a block agree

# %%
show("union", source, folder)

# %% [markdown]
# ## Selectors on the same held-out text

# %%
selection_columns = (
    "selector",
    "compensator",
    "scheduler",
    "sparsity",
    "rank",
    "kl_prose",
    "kl_code",
    "kl",
    "ppl_ratio",
    "windows",
)
table(
    source.frame("selections"),
    selection_columns,
    "no lines in selectors.jsonl: python benchmarks/accuracy_selectors.py",
)
