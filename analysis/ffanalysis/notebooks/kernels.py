# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Speed
# Ratios of times measured side by side in one process: dense over sparse, medians of paired rounds.

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
# ## The kernel alone

# %%
kernel_columns = (
    "shape",
    "dtype",
    "block",
    "group",
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
    "no lines in kernels.jsonl: python -m ffkernels.bench --json",
)
show("kernel_speedups", source, folder)

# %% [markdown]
# ## Roofline

# %%
show("roofline", source, folder)

# %% [markdown]
# ## Time to first token, trained plans

# %%
run_columns = (
    "model",
    "selector",
    "compensator",
    "sparsity",
    "ffn_speedup",
    "ttft_speedup",
    "flops_ratio",
    "threads",
    "run_key",
)
table(source.runs(), run_columns)
show("speed_by_length", source, folder)

# %% [markdown]
# ## Time to first token, shapes of published models

# %%
show("speed_by_shape", source, folder)
