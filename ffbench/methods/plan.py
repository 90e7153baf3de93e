"""The sparse plan: everything that is needed to run sparse prefill on one model."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.methods.compensators.surrogate import OutputMap, Surrogate
from ffbench.methods.predictor import Predictor

FORMAT_VERSION = 3
PREDICTOR_PARTS = ("mean", "weights", "prior")


class PlanError(ValueError):
    """A plan folder cannot be used; the text says why."""


@dataclass(frozen=True)
class PlanSettings:
    """Settings of a plan. `rank` counts for the surrogate, `map_rank` for the output map beside it;
    sparsity and hot_fraction are shares in [0, 1).

    With group_size above 1, neurons are kept in whole groups of that many neighbours of a layer's
    order. `blocks` says which tokens share a block (`ffbench.methods.similar_blocks`).
    """

    selector: str
    compensator: str
    scheduler: str
    block_size: int
    sparsity: float
    hot_fraction: float = 0.0
    rank: int = 128
    dense_first: bool = True
    dense_last: bool = True
    seed: int = 0
    tune_steps: int = 0
    group_size: int = 1
    map_rank: int = 0
    blocks: str = "consecutive"


def extra_of(tensors: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """A layer's extra tensors by name, from a file that holds those of every layer as
    INDEX.extra.NAME.
    """
    start = f"{index}.extra."
    return {
        name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)
    }


@dataclass
class LayerPlan:
    """One layer: `kept` neurons a block, of which the first `hot` after `order` [f] are always
    kept.

    `extra` holds what single selectors need; tensors whose name begins with `neuron_` have one row
    a neuron.
    """

    kept: int
    hot: int
    order: Tensor
    surrogate: Surrogate
    predictor: Predictor
    output_map: OutputMap | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def permuted(self) -> "LayerPlan":
        """The same layer with every per-neuron tensor in the order [hot..., cold...]."""
        o, s, q = self.order, self.surrogate, self.predictor
        extra = {
            name: one[o] if name.startswith("neuron_") else one for name, one in self.extra.items()
        }
        return LayerPlan(
            self.kept,
            self.hot,
            torch.arange(len(o)),
            Surrogate(s.p, s.v[o], s.c[o]),
            Predictor(q.mean, q.weights[o], q.prior[o]),
            self.output_map,
            extra,
        )


def layer_problem(layer: LayerPlan) -> str | None:
    """What does not fit together in a layer that was read from files, or None."""
    f = len(layer.order)
    if not torch.equal(layer.order.sort().values, torch.arange(f)):
        return f"its order is no permutation of {f} neurons"
    if not 0 <= layer.hot <= layer.kept <= f:
        return f"kept {layer.kept} and hot {layer.hot} do not fit {f} neurons"
    rows = {
        "surrogate.v": layer.surrogate.v,
        "surrogate.c": layer.surrogate.c,
        "predictor.weights": layer.predictor.weights,
        "predictor.prior": layer.predictor.prior,
    }
    rows |= {
        f"extra.{name}": one for name, one in layer.extra.items() if name.startswith("neuron_")
    }
    wrong = [f"{name} {tuple(one.shape)}" for name, one in rows.items() if len(one) != f]
    return f"expected {f} rows, found {', '.join(wrong)}" if wrong else None


@dataclass
class SparsePlan:
    """Settings, model fingerprint and one LayerPlan a layer; prompts below `min_tokens` run dense
    (0: none).

    `python -m ffbench speed plan=FOLDER` measures from which length on the plan pays off, and
    writes it there.
    """

    settings: PlanSettings
    fingerprint: dict[str, str]
    layers: list[LayerPlan]
    min_tokens: int = 0

    def save(self, folder: str | Path) -> None:
        """Write plan.json and plan.safetensors into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        for i, layer in enumerate(self.layers):
            tensors[f"{i}.order"] = layer.order
            tensors |= {
                f"{i}.surrogate.{n}": getattr(layer.surrogate, n).contiguous() for n in "pvc"
            }
            tensors |= {
                f"{i}.predictor.{n}": getattr(layer.predictor, n).clone() for n in PREDICTOR_PARTS
            }
            tensors |= {f"{i}.extra.{n}": one.contiguous() for n, one in layer.extra.items()}
            if layer.output_map:
                tensors |= {
                    f"{i}.output_map.{n}": getattr(layer.output_map, n).contiguous() for n in "pub"
                }
        save_file(tensors, folder / "plan.safetensors")
        self.save_header(folder)

    def save_header(self, folder: str | Path) -> None:
        """Write plan.json alone, atomically: everything but the tensors."""
        header = {
            "format_version": FORMAT_VERSION,
            "settings": asdict(self.settings),
            "fingerprint": self.fingerprint,
            "min_tokens": self.min_tokens,
            "layers": [{"kept": layer.kept, "hot": layer.hot} for layer in self.layers],
        }
        path = Path(folder) / "plan.json"
        path.with_suffix(".part").write_text(json.dumps(header, indent=1))
        path.with_suffix(".part").replace(path)

    @classmethod
    def load(cls, folder: str | Path, fingerprint: dict[str, str] | None = None) -> "SparsePlan":
        """Read a plan folder.

        Raises PlanError when a file is missing or malformed, the version differs, or `fingerprint`
        is given and does not match the model that the plan was made for.
        """
        folder = Path(folder)
        try:
            header = json.loads((folder / "plan.json").read_text())
            tensors = load_file(folder / "plan.safetensors")
            version = header["format_version"]
            if version != FORMAT_VERSION:
                raise PlanError(
                    f"plan {folder}: format version {version}, this build reads {FORMAT_VERSION}"
                )
            unknown = sorted(
                set(header["settings"]) - {field.name for field in fields(PlanSettings)}
            )
            if unknown:
                raise PlanError(
                    f"plan {folder}: settings that this build does not know: {', '.join(unknown)}; it was "
                    "made by a newer one: update FFBench, or make the plan again"
                )
            settings = PlanSettings(**header["settings"])
            layers = [cls._layer(tensors, i, entry) for i, entry in enumerate(header["layers"])]
            least = int(header.get("min_tokens", 0))
        except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
            raise PlanError(
                f"plan {folder}: not a readable plan ({error}); make it again"
            ) from error
        for i, layer in enumerate(layers):
            if found := layer_problem(layer):
                raise PlanError(
                    f"plan {folder}: layer {i}: {found}; the files do not belong together, make it again"
                )
        if fingerprint is not None and fingerprint != header["fingerprint"]:
            raise PlanError(
                f"plan {folder}: made for {header['fingerprint']}, the model is {fingerprint}"
            )
        return cls(settings, header["fingerprint"], layers, least)

    @staticmethod
    def _layer(tensors: dict[str, Tensor], index: int, entry: dict) -> LayerPlan:
        surrogate = Surrogate(*(tensors[f"{index}.surrogate.{n}"] for n in "pvc"))
        predictor = Predictor(*(tensors[f"{index}.predictor.{n}"] for n in PREDICTOR_PARTS))
        mapped = f"{index}.output_map.p" in tensors
        blind = OutputMap(*(tensors[f"{index}.output_map.{n}"] for n in "pub")) if mapped else None
        return LayerPlan(
            int(entry["kept"]),
            int(entry["hot"]),
            tensors[f"{index}.order"],
            surrogate,
            predictor,
            blind,
            extra_of(tensors, index),
        )
