"""Plan format 3 in today's terms: names that were ablations are parameters now."""

from typing import Any

from torch import Tensor

from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import NEURON
from ffbench.runs.legacy import current_method
from ffbench.runs.schema import METHOD_KINDS

RSPARSE = {
    "neuron_remainder_gate": "gate_left",
    "remainder_gate": "gate_right",
    "neuron_remainder_up": "up_left",
    "remainder_up": "up_right",
    "neuron_remainder_down": "down_left",
    "remainder_down": "down_right",
}
STATE = {
    "surrogate.p": "compensator.projection",
    "surrogate.v": "compensator.activation_map",
    "surrogate.c": "compensator.mean",
    "output_map.p": "compensator.output_map.projection",
    "output_map.u": "compensator.output_map.expansion",
    "output_map.b": "compensator.output_map.bias",
}


def settings_of_format3(old: dict[str, Any]) -> dict[str, Any]:
    """Settings of a plan of format 3 as those of format 4."""
    size = old["block_size"]
    methods: dict[str, Any] = {}
    for kind in METHOD_KINDS:
        name, parameters = current_method(kind, old[kind], old)
        methods[kind] = {"name": name} | parameters
    same = ("block_size", "sparsity", "hot_fraction", "group_size", "blocks", "seed")
    return {
        **methods,
        # format 3 kept the first and the last block dense, whatever their size
        "first_dense": size if old.get("dense_first", True) else 0,
        "last_dense": size if old.get("dense_last", True) else 0,
        **{key: old[key] for key in same if key in old},
    }


def tensors_of_format3(
    old: dict[str, Tensor], settings: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, dict[str, tuple[str, ...]]]]:
    """Tensors of a plan of format 3 by their names in format 4, and the axes of the open parts."""
    axes: dict[str, dict[str, tuple[str, ...]]] = {"statistics": {}, "selector": {}}
    weights_alone = settings["compensator"]["name"] == "rsparse"
    new: dict[str, Tensor] = {}
    for key, value in old.items():
        index, _, rest = key.partition(".")
        name = rest.removeprefix("extra.")
        plain = name.removeprefix("neuron_")
        if rest in STATE:
            if not weights_alone:
                new[f"{index}.{STATE[rest]}"] = value
        elif name in RSPARSE:
            new[f"{index}.compensator.{RSPARSE[name]}"] = value
        elif not rest.startswith("extra."):
            new[key] = value
        elif plain in STATISTIC_AXES:
            new[f"{index}.statistics.{plain}"] = value
            axes["statistics"][plain] = STATISTIC_AXES[plain]
        else:
            new[f"{index}.selector.{plain}"] = value
            own = (NEURON, *["gate_rank"] * (value.dim() - 1))
            axes["selector"][plain] = own if name.startswith("neuron_") else ("gate_rank", "input")
    return new, axes
