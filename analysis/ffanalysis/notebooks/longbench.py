# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # LongBench
# Dense and sparse on the same records. A loss whose interval crosses 0 was not shown with this many
# records.

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
# ## Task by task

# %%
from ffanalysis.tables import TASK_COLUMNS

table(source.frame("tasks"), TASK_COLUMNS)
show("longbench", source, folder)

# %% [markdown]
# ## By length of the record

# %%
show("length_buckets", source, folder)
