# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Task scores
# Dense and sparse on the same records, with the score of a guess.

# %% tags=["parameters"]
output_dir = "outputs"
figures = "outputs/plots"

# %%
from pathlib import Path

from IPython.display import Image, Markdown, display

from analysis import load, plots

frame = load.tasks(output_dir)
try:
    columns = ["sparsity", "selector", "compensator", "task", "n", "score", "score_dense", "loss_abs", "loss_abs_low",
               "loss_abs_high", "loss_rel", "chance", "nll", "nll_dense"]
    display(frame[[column for column in columns if column in frame]].round(3))
    path = Path(figures) / "tasks.png"
    plots.task_losses(frame, path)
    display(Image(str(path)))
except plots.NothingToDraw as reason:
    display(Markdown(f"*tasks: {reason}*"))
