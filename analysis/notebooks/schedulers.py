# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Selectors and schedulers by layer
# Recall of the block oracle's neurons, retained energy, and the density that each scheduler gives a layer.

# %% tags=["parameters"]
output_dir = "outputs"
figures = "outputs/plots"

# %%
from pathlib import Path

from IPython.display import Image, Markdown, display

from analysis import load, plots

for name, draw in (("layer_recall", plots.layer_recall), ("layer_density", plots.layer_density)):
    try:
        path = Path(figures) / f"{name}.png"
        draw(load.layers(output_dir), path)
        display(Image(str(path)))
    except plots.NothingToDraw as reason:
        display(Markdown(f"*{name}: {reason}*"))
