# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # LongBench
# Dense and sparse on the same records. If the interval of a loss holds 0, no loss was shown
# with this many records.

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
# ## Task by task

# %%
show_report(source, "task")
show("longbench", source, folder)

# %% [markdown]
# ## By length of the record

# %%
show("length_buckets", source, folder)
