"""Results, configurations, benchmark lines and plans of older formats, in today's names.

Schema 1 had one name per ablation where there is now one method with parameters. `RENAMED` is the
only table of them: results of schema 1, old run configurations and plan format 3 are all read with
it.
"""

import re
from collections.abc import Mapping
from typing import Any

from ffbench.runs.schema import DENSE, METHOD_KINDS

# kind -> old name -> (name, parameters that the old name stood for)
PROBE = {"share": 1 / 32, "prior_tokens": 8.0}
MIXING = {"mass": "others", "floor": 0.5}
RENAMED: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "selector": {
        "probe": ("probe", {"choice": "spaced"} | PROBE),
        "probe_norm": ("probe", {"choice": "norm"} | PROBE),
        "static": ("static", {"statistic": "residual"}),
        "static_wanda": ("static", {"statistic": "wanda"}),
        "static_flap": ("static", {"statistic": "flap"}),
        "first_block": ("griffin", {"block": "first"}),
        "previous_block": ("griffin", {"block": "previous"}),
        "svd_gate": ("svd_gate", {"budget": 0.03}),
        "wina": ("wina_rule", {}),  # it never had WINA's transformation
    },
    "compensator": {
        "surrogate": ("surrogate", {"output_map_rank": 0, "tune_steps": 0}),
        # 104 and 120 were the values of the configuration files of these names
        "surrogate_map": ("surrogate", {"output_map_rank": 104, "tune_steps": 0}),
        "surrogate_tuned": ("surrogate", {"output_map_rank": 104, "tune_steps": 120}),
    },
    "scheduler": {
        "curvature": ("curvature", {"blocks": "equal"}),
        "token_mixing": ("token_mixing", MIXING),
        "token_mixing_sink": ("token_mixing", MIXING | {"mass": "with_sink"}),
        "token_mixing_far": ("token_mixing", MIXING | {"mass": "far"}),
        "token_mixing_no_floor": ("token_mixing", MIXING | {"floor": 0.0}),
        "token_mixing_inverse": ("token_mixing", MIXING | {"floor": 1.5}),
        "adaptive": ("per_block", {"rule": "mass"}),
        "adaptive_energy": ("per_block", {"rule": "energy"}),
    },
}
# old compensators that had a rank in their settings but none in their mathematics
WITHOUT_RANK = ("none", "bias", DENSE)
OUTPUT_MAPPED = ("surrogate_map", "surrogate_tuned")
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
# fields of a result that hold loss fields, at any depth
LOSSES = ("tasks", "categories", "buckets", "mean", "category_mean", "gold")
OLD_RATIO = re.compile(r"^ppl_ratio")
LINE_FIELDS = {"block": "block_size", "group": "group_size", "isa": "instruction_set"}
# older names of processors end with the vector instructions that torch uses
CAPABILITY = re.compile(r" \((DEFAULT|AVX2|AVX512|NEON|SVE\d*|VSX|Z VECTOR)\)$")


def current_method(
    kind: str, name: str, settings: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Today's name and parameters of a method of schema 1 or plan format 3.

    `settings` holds what else was set: `rank`, `map_rank` and `tune_steps` of a
    compensator count. Names that did not change come back as they are.
    """
    given = dict(settings or {})
    current, parameters = RENAMED[kind].get(name, (name, {}))
    parameters = dict(parameters)
    if kind == "compensator":
        if given.get("rank") is not None and name not in WITHOUT_RANK:
            parameters = {"rank": given["rank"]} | parameters
        if name in OUTPUT_MAPPED and given.get("map_rank"):
            parameters["output_map_rank"] = given["map_rank"]
        if name == "surrogate_tuned" and given.get("tune_steps"):
            parameters["tune_steps"] = given["tune_steps"]
    return current, parameters


def methods(record: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The method fields and `parameters` of a record of schema 1; kinds that it lacks stay out.

    `config` is the run's old configuration: it has the ranks that a result of schema 1 left out.
    """
    out: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    for kind in METHOD_KINDS:
        if record.get(kind):
            settings = {"rank": record.get("rank")} | dict(config.get(kind) or {})
            out[kind], parameters[kind] = current_method(kind, record[kind], settings)
    return out | {"parameters": parameters}


def current_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of schema 1 with today's method names and parameters."""
    out = dict(config)
    for kind in METHOD_KINDS:
        node = config.get(kind)
        if isinstance(node, Mapping) and isinstance(node.get("name"), str):
            name, parameters = current_method(kind, node["name"], node)
            kept = {"hot_fraction": node["hot_fraction"]} if "hot_fraction" in node else {}
            out[kind] = {"name": name} | kept | parameters
    return out


def renamed(value: Any) -> Any:
    """Loss fields with `nll_gain` as `nll_increase` and `ppl_ratio` as `gold_ppl_ratio`, in objects
    of any depth.
    """
    if not isinstance(value, Mapping):
        return value
    return {
        OLD_RATIO.sub("gold_ppl_ratio", name.replace("nll_gain", "nll_increase")): renamed(inner)
        for name, inner in value.items()
    }


def with_loss_names(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result of schema 2 with today's names of loss fields: some were written as `ppl_ratio`."""
    return dict(result) | {name: renamed(result[name]) for name in LOSSES if name in result}


def fidelity(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Fidelity of schema 1, which was measured at the prompt's own positions."""

    def counted(values: Mapping[str, Any]) -> dict[str, Any]:
        return {"n": values.get("windows") or 0} | dict(values)

    mean = texts.get("mean")
    return {
        "prompt": counted(mean) if mean else None,
        "density_used": (mean or {}).get("density_used"),
        "by_text": {
            name: {"prompt": counted(values)} for name, values in texts.items() if name != "mean"
        },
    }


def processor(name: str | None) -> str | None:
    """One name per processor: `Xeon (AVX512)` is the same one as `Xeon`."""
    return CAPABILITY.sub("", name) if name else name


def speed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Speed of schema 1, which was measured in one process."""
    return dict(record) | {"cpu": processor(record.get("cpu"))}


def current_result(result: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A result of schema 1 with the fields of schema 2; what it did not measure is null.

    `schema_version` stays 1: it says what was measured.
    """
    sparse = bool(result.get("sparsity"))
    out = dict(result) | methods(result, config)
    out |= {name: renamed(result.get(name)) for name in ("categories", "buckets", "mean")}
    out["tasks"] = renamed(result.get("tasks") or {})
    for name, convert in (("fidelity", fidelity), ("speed", speed)):
        out[name] = convert(result[name]) if result.get(name) else None
    if sparse:  # these had one value before they were recorded
        out["blocks"] = result.get("blocks") or "consecutive"
        out["calibration_text"] = result.get("calibration_text") or "embedded"
        out["objective"] = {"continuation": 0.0, "copy": 0.0, "full": 1.0}
    out["seed"] = config.get("seed")
    out["device"] = "cpu"  # no model of schema 1 ever reached another
    out["cost"] = result.get("cost") or {}
    return out


def current_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a benchmark's file with today's field names, dtypes and methods."""
    out = {LINE_FIELDS.get(name, name): value for name, value in line.items()}
    if "dtype" in out:
        out["dtype"] = DTYPES.get(out["dtype"], out["dtype"])
    if "cpu" in out:
        out["cpu"] = processor(out["cpu"])
    if "selector" in out and "parameters" not in out:
        out |= methods(out, {})
    out.pop("rank", None)
    return out
