"""Inputs of the benchmark: random weights at a model's shape, and index sets.

Index sets are random or recorded from prompts.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

import ffkernels
from ffkernels.bench import shapes

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
RECORD = "indices.safetensors"
PAGE = 2 << 20  # bytes of a huge page


class CaseError(ValueError):
    """The benchmark cannot be set up; the text says why."""


@dataclass(frozen=True)
class IndexSet:
    """Kept neurons of one layer: the first `hot`, and sorted `indices` [blocks, K] of the rest."""

    name: str
    hot: int
    indices: Tensor


@dataclass
class Sets:
    """Index sets of one measurement, for blocks of `block_size` tokens.

    They are made of whole groups of `group_size` neurons; `source` says where they are from.
    """

    d: int
    f: int
    block_size: int
    group_size: int
    source: str
    layers: list[IndexSet]

    @property
    def density(self) -> float:
        """Share of neurons kept, mean over the layers."""
        return sum(layer.hot + layer.indices.shape[1] for layer in self.layers) / (
            self.f * len(self.layers)
        )


def page_aligned(t: Tensor) -> Tensor:
    """A copy of t that begins at a multiple of 2 MB.

    No variant then depends on where its tensors happen to be in pages and cache sets.
    """
    if t.device.type != "cpu":
        return t
    flat = torch.empty(t.numel() + PAGE // t.element_size(), dtype=t.dtype)
    start = -flat.data_ptr() % PAGE // t.element_size()
    return flat[start : start + t.numel()].view(t.shape).copy_(t)


def random_sets(
    shape: str,
    *,
    tokens: int,
    block_size: int,
    group_size: int,
    sparsity: float,
    hot_fraction: float,
    seed: int,
) -> Sets:
    """One set of random rows, or of random whole groups.

    Hot and dynamic counts are rounded to whole groups.
    """
    d, f = shapes.SHAPES[shape]
    kept = round(f * (1 - sparsity) / group_size) * group_size
    hot = round(kept * hot_fraction / group_size) * group_size
    gen = torch.Generator().manual_seed(seed + 1)
    blocks = -(-tokens // block_size)
    indices = shapes.index_sets(blocks, f, hot, kept - hot, group_size, gen)
    return Sets(d, f, block_size, group_size, "random", [IndexSet("random", hot, indices)])


def recorded_sets(folder: Path, layers: int) -> tuple[Sets, int]:
    """Up to `layers` evenly spaced layers of a plan folder's recorded index sets.

    Also returns how many tokens they cover. `python -m ffbench plan record FOLDER ...` writes the
    file, and docs/kernels.md describes it. CaseError if it is missing or is not such a file.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / RECORD
    if not path.is_file():
        raise CaseError(
            f"--from-plan: {folder} has no {RECORD}; write it with `python -m ffbench plan record "
            f"{folder} SETTINGS`, with the settings that the plan was saved with"
        )
    try:
        with safe_open(path, "pt") as file:
            header = {name: int(value) for name, value in file.metadata().items()}
            hot, count = file.get_tensor("hot").tolist(), header["layers"]
            chosen = evenly_spaced(count, layers)
            layer_sets = [
                IndexSet(f"layer {i}", hot[i], file.get_tensor(f"{i}.indices")) for i in chosen
            ]
        sets = Sets(
            header["d"],
            header["f"],
            header["block_size"],
            header["group_size"],
            str(folder),
            layer_sets,
        )
        return sets, min(len(layer.indices) for layer in layer_sets) * sets.block_size
    except (SafetensorError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise CaseError(
            f"--from-plan: {path} is not a record of index sets ({type(error).__name__}: {error}); "
            "record it again"
        ) from error


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers 0 to count - 1, the first and the last among them."""
    most = min(wanted, count)
    return [round(i * (count - 1) / max(most - 1, 1)) for i in range(most)]


@dataclass
class Case:
    """Inputs of one measurement: x [T, d]; gate, up, down_t [f, d]; down [d, f]; the index sets.

    `merged` is gate above up [2f, d], as serving engines store them.
    """

    sets: Sets
    dtype: torch.dtype
    tokens: int
    device: str = "cpu"
    seed: int = 0
    x: Tensor = field(init=False)
    gate: Tensor = field(init=False)
    up: Tensor = field(init=False)
    down_t: Tensor = field(init=False)
    down: Tensor = field(init=False)
    merged: Tensor = field(init=False)

    def __post_init__(self) -> None:
        gen = torch.Generator().manual_seed(self.seed)
        rows = shapes.weights(self.sets.d, self.sets.f, self.dtype, gen)
        x = torch.randn(self.tokens, self.sets.d, generator=gen).to(self.dtype)
        self.gate, self.up, self.down_t, self.down, self.x, self.merged = (
            page_aligned(t.to(self.device)) for t in (*rows, rows[2].T, x, torch.cat(rows[:2]))
        )
        self.weight_dtype = self.dtype
        blocks = -(-self.tokens // self.sets.block_size)
        self.sets.layers = [
            IndexSet(layer.name, layer.hot, layer.indices[:blocks].int().to(self.device))
            for layer in self.sets.layers
        ]

    def call(self, layer: IndexSet, blocks: int, backend: str) -> Tensor:
        """The sparse call of one layer on the first `blocks` blocks."""
        tensors = (self.gate, self.up, self.down_t)
        return self.call_on(self.x[: blocks * self.sets.block_size], tensors, layer, backend)

    def call_on(
        self, x: Tensor, tensors: tuple[Tensor, ...], layer: IndexSet, backend: str
    ) -> Tensor:
        """The sparse call of one layer on x [t, d] and these matrices."""
        size = self.sets.block_size
        return ffkernels.sparse_gated_ffn(
            x,
            *tensors,
            layer.indices[: -(-len(x) // size)],
            size,
            hot=layer.hot,
            group=self.sets.group_size,
            backend=backend,
        )

    def sparse(self, backend: str) -> None:
        """The sparse call of every layer."""
        for layer in self.sets.layers:
            self.call(layer, len(layer.indices), backend)

    def own_dense(self, backend: str) -> None:
        """The dense call of the same backend for every layer: all neurons are hot."""
        for _ in self.sets.layers:
            ffkernels.dense_gated_ffn(self.x, self.gate, self.up, self.down_t, backend=backend)

    def eager(self) -> None:
        """The dense FFN of every layer as a model writes it."""
        for _ in self.sets.layers:
            dense(self.x, self.gate, self.up, self.down)

    def eager_merged(self) -> None:
        """The dense FFN of every layer with gate and up in one product."""
        for _ in self.sets.layers:
            dense_merged(self.x, self.merged, self.down)

    def correctness(self, backend: str) -> tuple[float, float]:
        """Error of the first two blocks against float64, and the error allowed.

        Both are relative to the largest output. Allowed is four times the error of the torch
        backend on the same input plus one rounding of the result.
        """
        layer, blocks = self.sets.layers[0], min(2, len(self.sets.layers[0].indices))
        x = self.x[: blocks * self.sets.block_size].double()
        wide = tuple(t.double() for t in (self.gate, self.up, self.down_t))
        exact = self.call_on(x, wide, layer, "reference")
        top = exact.abs().max().item() or 1.0
        error, error_of_torch = (
            (self.call(layer, blocks, name).double() - exact).abs().max().item() / top
            for name in (backend, "torch")
        )
        return error, 4 * error_of_torch + torch.finfo(self.dtype).eps


def dense(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The FFN as a model writes it; down is [d, f]."""
    linear = torch.nn.functional.linear
    return linear(torch.nn.functional.silu(linear(x, gate)) * linear(x, up), down)


def dense_merged(x: Tensor, merged: Tensor, down: Tensor) -> Tensor:
    """The FFN as serving engines write it; merged is gate above up [2f, d], down [d, f]."""
    linear = torch.nn.functional.linear
    gate, up = linear(x, merged).chunk(2, dim=1)
    return linear(torch.nn.functional.silu(gate) * up, down)
