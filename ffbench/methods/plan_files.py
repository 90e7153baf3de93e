"""Plans on disk: plan.json and plan.safetensors; older formats are read."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench import strict_json
from ffbench.methods.chosen import make_selector
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.groups import group_problem
from ffbench.methods.places import Place
from ffbench.methods.plan import METHODS, LayerPlan, PlanError, PlanSettings, SparsePlan
from ffbench.methods.plan_card import model_text, readme
from ffbench.methods.plan_format3 import settings_of_format3, tensors_of_format3
from ffbench.methods.registry import MethodError
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.selectors.predictor import Predictor
from ffbench.methods.tensors import AxisTensors

FORMAT_VERSION = 4
# what a header with other contents than `save_header` writes can raise
UNREADABLE = (
    OSError,
    KeyError,
    TypeError,
    AttributeError,
    ValueError,
    ArithmeticError,
    SafetensorError,
)
HEADER, TENSORS, README = "plan.json", "plan.safetensors", "README.md"
FILES = (HEADER, TENSORS, README)
READABLE = 0o644  # whatever the umask: plans are made to be shared


def save_plan(plan: SparsePlan, folder: Path) -> None:
    """Write a plan into `folder`, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{i}.{name}": value.contiguous().cpu().clone()
        for i, layer in enumerate(plan.layers)
        for name, value in layer.tensors().items()
    }
    save_file(tensors, folder / TENSORS)
    (folder / TENSORS).chmod(READABLE)
    save_header(plan, folder)


def save_header(plan: SparsePlan, folder: Path) -> None:
    """Write plan.json and README.md, each atomically: everything but the tensors."""
    first = plan.layers[0]
    header = {
        "format_version": FORMAT_VERSION,
        "settings": plan.settings.as_dict(),
        "fingerprint": plan.fingerprint,
        "min_tokens": plan.min_tokens,
        "card": plan.card,
        "axes": {
            "statistics": first.statistics.axes,
            "selector": first.selector_tensors.axes,
        },
        "layers": [
            {"kept": layer.kept, "hot": layer.hot} | asdict(place)
            for layer, place in zip(plan.layers, plan.places, strict=True)
        ],
    }
    for name, text in ((HEADER, json.dumps(header, indent=1)), (README, readme(plan))):
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.chmod(READABLE)
        part.replace(folder / name)


def plan_settings(node: dict[str, Any]) -> PlanSettings:
    """Settings from plain values. Raises MethodError or TypeError for values that do not fit."""
    plain = {name: value for name, value in node.items() if name not in METHODS}
    return PlanSettings(
        selector=make_selector(node["selector"]),
        compensator=COMPENSATORS.make(node["compensator"]),
        scheduler=SCHEDULERS.make(node["scheduler"]),
        **plain,
    )


def load_plan(folder: Path, fingerprint: dict[str, str] | None) -> SparsePlan:
    """Read a plan folder; see `SparsePlan.load`."""
    try:
        header = strict_json.parse((folder / HEADER).read_bytes())
        tensors = load_file(folder / TENSORS)
        version = header["format_version"]
        if version == 3:
            header["settings"] = settings_of_format3(header["settings"])
            tensors, header["axes"] = tensors_of_format3(tensors, header["settings"])
        elif version != FORMAT_VERSION:
            raise PlanError(
                f"plan {folder}: format version {version}, this version of FFBench reads 3 and "
                f"{FORMAT_VERSION}"
            )
        settings = plan_settings(header["settings"])
        layers = [
            layer_of(tensors, i, entry, settings, header["axes"])
            for i, entry in enumerate(header["layers"])
        ]
        least, made_for = int(header.get("min_tokens", 0)), header["fingerprint"]
        places = [place_of(entry, i, header) for i, entry in enumerate(header["layers"])]
    except MethodError as error:
        raise PlanError(
            f"plan {folder}: {error}; if a newer version made it, update FFBench, otherwise create "
            "the plan again"
        ) from error
    except UNREADABLE as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(
            f"plan {folder}: cannot be read ({error}); create the plan again"
        ) from error
    if len({place.text() for place in places}) < len(places):
        raise PlanError(f"plan {folder}: two entries are of one FFN; create the plan again")
    if not layers or not isinstance(made_for, dict):
        raise PlanError(f"plan {folder}: no layers or no fingerprint; create the plan again")
    if problems := settings.problems():
        raise PlanError(f"plan {folder}: {'; '.join(problems)}; create the plan again")
    for i, layer in enumerate(layers):
        if problem := layer.problem() or grouping_problem(layer, settings.group_size):
            raise PlanError(
                f"plan {folder}: layer {i}: {problem}. {HEADER} and {TENSORS} do not match; create "
                "the plan again"
            )
    card = header.get("card", {})
    if not isinstance(card, dict):
        raise PlanError(f"plan {folder}: its card is not an object; create the plan again")
    if fingerprint is not None and fingerprint["model"] != made_for.get("model"):
        raise PlanError(f"plan {folder}: {other_model(fingerprint, made_for, card)}")
    return SparsePlan(settings, made_for, layers, least, card, places)


def place_of(entry: dict[str, Any], index: int, header: dict[str, Any]) -> Place:
    """Where the FFN of an entry is. Older files say only how many experts each layer has."""
    if "layer" in entry:
        return Place(**{field.name: entry[field.name] for field in fields(Place)})
    experts = int(header.get("experts", 1))
    layer, expert = divmod(index, experts)
    return Place(layer, expert if experts > 1 else None)


def grouping_problem(layer: LayerPlan, group: int) -> str | None:
    """Why a layer's neurons are not kept in whole groups, or None."""
    if problem := group_problem(len(layer.order), group):
        return problem
    if layer.kept % group or layer.hot % group:
        return f"kept {layer.kept} and hot {layer.hot} are not whole groups of {group}"
    return None


def other_model(given: dict[str, str], made_for: dict[str, str], card: dict[str, Any]) -> str:
    """Why a plan does not fit the given model, by names."""
    old = card.get("model") or made_for.get("name") or "another model"
    new = given.get("name", "the given one")
    if old == new:
        return (
            f"made for {model_text(card)}, but the given {new} has other weights, another revision "
            "or another dtype; create the plan again"
        )
    first = model_text(card) if card else old
    return f"made for {first}, not for {new}; give the model it was made for"


def part(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    """Tensors whose names begin with `start`, without it."""
    return {n.removeprefix(start): value for n, value in tensors.items() if n.startswith(start)}


def layer_of(
    tensors: dict[str, Tensor],
    index: int,
    entry: dict[str, Any],
    settings: PlanSettings,
    axes: dict[str, Any],
) -> LayerPlan:
    """One layer's plan from the file's tensors. Raises KeyError naming one that is missing."""
    state = type(settings.compensator).state_type
    own = {
        name: {key: tuple(value) for key, value in axes[name].items()}
        for name in ("statistics", "selector")
    }
    return LayerPlan(
        int(entry["kept"]),
        int(entry["hot"]),
        tensors[f"{index}.order"],
        state.from_tensors(part(tensors, f"{index}.compensator.")),
        Predictor.from_tensors(part(tensors, f"{index}.predictor.")),
        AxisTensors(part(tensors, f"{index}.statistics."), own["statistics"]),
        AxisTensors(part(tensors, f"{index}.selector."), own["selector"]),
    )
