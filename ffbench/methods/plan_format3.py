"""Plan format 3 in today's terms: names that were ablations are parameters now."""

from typing import Any

from torch import Tensor

from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import NEURON

SELECTORS: dict[str, dict[str, Any]] = {
    "first_block": {"name": "griffin", "block": "first"},
    "previous_block": {"name": "griffin", "block": "previous"},
    "probe": {"name": "probe", "choice": "spaced"},
    "probe_norm": {"name": "probe", "choice": "norm"},
    "static_wanda": {"name": "static", "statistic": "wanda"},
    "static_flap": {"name": "static", "statistic": "flap"},
    "wina": {"name": "wina_rule"},
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "adaptive": {"name": "per_block", "rule": "mass"},
    "adaptive_energy": {"name": "per_block", "rule": "energy"},
    "token_mixing_sink": {"name": "token_mixing", "mass": "with_sink"},
    "token_mixing_far": {"name": "token_mixing", "mass": "far"},
    "token_mixing_no_floor": {"name": "token_mixing", "floor": 0.0},
    "token_mixing_inverse": {"name": "token_mixing", "floor": 1.5},
}
SURROGATES = ("surrogate", "surrogate_map", "surrogate_tuned")
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
    name, size = old["compensator"], old["block_size"]
    compensator: dict[str, Any] = {"name": "surrogate" if name in SURROGATES else name}
    if name in (*SURROGATES, "lowrank", "rsparse"):
        compensator["rank"] = old["rank"]
    if name in SURROGATES:
        compensator |= {
            "output_map_rank": old.get("map_rank", 0),
            "tune_steps": old.get("tune_steps", 0),
        }
    same = ("block_size", "sparsity", "hot_fraction", "group_size", "blocks", "seed")
    return {
        "selector": SELECTORS.get(old["selector"], {"name": old["selector"]}),
        "compensator": compensator,
        "scheduler": SCHEDULERS.get(old["scheduler"], {"name": old["scheduler"]}),
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
