# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Speed
# Ratios of times measured in pairs: dense over sparse, medians.

# %% tags=["parameters"]
output_dir = "outputs"
bench_dir = None
published = None
folder = "outputs/plots"

# %%
from pathlib import Path

from ffanalysis.notebook import show, show_report, table
from ffanalysis.source import Source

source = Source(
    Path(output_dir),
    Path(bench_dir) if bench_dir else None,
    published=Path(published) if published else None,
)

# %% [markdown]
# ## The kernel alone

# %%
kernel_columns = (
    "shape",
    "dtype",
    "block_size",
    "group_size",
    "hot_fraction",
    "threads",
    "ratio_eager",
    "ratio_compiled",
    "ratio_self",
    "ideal",
    "gflops",
    "peak_gflops",
    "backend",
)
table(
    source.frame("kernels"),
    kernel_columns,
    "no lines in kernels.jsonl: python -m ffkernels.bench --output-dir outputs",
)
show("kernel_speedups", source, folder)

# %% [markdown]
# ## Roofline

# %%
show("roofline", source, folder)

# %% [markdown]
# ## Time to first token, trained plans

# %%
show_report(source)
show("speed_by_length", source, folder)

# %% [markdown]
# ## Time to first token, shapes of published models

# %%
show("speed_by_shape", source, folder)
