# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Speed
# Time to first token and FFN time, dense over sparse, paired rounds in one process.

# %% tags=["parameters"]
output_dir = "outputs"
figures = "outputs/plots"

# %%
from pathlib import Path

from IPython.display import Image, Markdown, display

from analysis import load, plots, tables

columns = ("model", "selector", "compensator", "sparsity", "ffn_speedup", "ttft_speedup", "flops_ratio", "run_key")
frame = load.runs(output_dir)
display(Markdown(tables.markdown(frame, columns)))
try:
    path = Path(figures) / "speed_by_length.png"
    plots.speed_by_length(load.timings(output_dir), path)
    display(Image(str(path)))
except plots.NothingToDraw as reason:
    display(Markdown(f"*speed_by_length: {reason}*"))
