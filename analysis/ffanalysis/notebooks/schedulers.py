# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Selectors and schedulers by layer
# Recall of the block oracle's neurons, retained energy, and the density of each layer by
# scheduler.

# %% tags=["parameters"]
output_dir = "outputs"
bench_dir = None
published = None
folder = "outputs/plots"

# %%
from pathlib import Path

from ffanalysis.notebook import show, table
from ffanalysis.source import Source

source = Source(
    Path(output_dir),
    Path(bench_dir) if bench_dir else None,
    published=Path(published) if published else None,
)

# %% [markdown]
# ## Neurons that each scheduler gives to a layer

# %%
show("layer_density", source, folder)

# %% [markdown]
# ## How near a selector comes to the oracle

# %%
show("layer_recall", source, folder)

# %% [markdown]
# ## How far the tokens of a block agree

# %%
show("token_overlap", source, folder)

# %% [markdown]
# ## Selectors on the same held-out text

# %%
selection_columns = (
    "selector",
    "compensator",
    "scheduler",
    "sparsity",
    "kl_continuation",
    "kl_copy",
    "kl_prompt",
    "flops_used",
    "flops_ratio",
)
table(
    source.frame("selections"),
    selection_columns,
    "no lines in selectors.jsonl: python benchmarks/accuracy_selectors.py "
    "--out outputs/selectors.jsonl",
)
