"""What the benchmark runs on: random weights at a model's shape, and index sets, random or recorded
from prompts.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

import ffkernels
from ffkernels import shapes

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
RECORD = "indices.safetensors"
PAGE = 2 << 20


class CaseError(ValueError):
    """The benchmark cannot be set up; the text says why."""


@dataclass(frozen=True)
class IndexSet:
    """Kept neurons of one layer: the first `hot`, and `indices` int64 [blocks, K] of the rest,
    sorted.
    """

    name: str
    hot: int
    indices: Tensor


@dataclass
class Sets:
    """Index sets of one measurement, each for `blocks` blocks of `block` tokens, in whole groups of
    `group`.
    """

    d: int
    f: int
    block: int
    group: int
    source: str
    layers: list[IndexSet]

    @property
    def density(self) -> float:
        """Share of neurons kept, mean over the layers."""
        return sum(one.hot + one.indices.shape[1] for one in self.layers) / (
            self.f * len(self.layers)
        )


def page_aligned(t: Tensor) -> Tensor:
    """A copy of t that begins at a multiple of 2 MB, so that no variant is lucky with pages and
    cache sets.
    """
    if t.device.type != "cpu":
        return t
    flat = torch.empty(t.numel() + PAGE // t.element_size(), dtype=t.dtype)
    start = -flat.data_ptr() % PAGE // t.element_size()
    return flat[start : start + t.numel()].view(t.shape).copy_(t)


def random_sets(
    shape: str, tokens: int, block: int, group: int, sparsity: float, hot_fraction: float, seed: int
) -> Sets:
    """One set of random rows, or of random whole groups; hot and dynamic counts are rounded to
    whole groups.
    """
    d, f = shapes.SHAPES[shape]
    kept = round(f * (1 - sparsity) / group) * group
    hot = round(kept * hot_fraction / group) * group
    gen = torch.Generator().manual_seed(seed + 1)
    indices = shapes.index_sets(-(-tokens // block), f, hot, kept - hot, group, gen)
    return Sets(d, f, block, group, "random", [IndexSet("random", hot, indices)])


def recorded_sets(folder: Path, layers: int) -> tuple[Sets, int]:
    """Up to `layers` evenly spaced layers of a plan folder's recorded index sets, and how many
    tokens they cover.

    `python -m ffbench plan record FOLDER ...` writes the file; docs/kernels.md describes it. Raises
    CaseError where it is missing or not such a file.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / RECORD
    if not path.is_file():
        raise CaseError(
            f"--from-plan: no {RECORD} in {folder}; write it with `python -m ffbench plan record {folder} "
            "SETTINGS`, with the settings that the plan was saved with"
        )
    try:
        with safe_open(path, "pt") as file:
            header = {name: int(value) for name, value in file.metadata().items()}
            hot, count = file.get_tensor("hot").tolist(), header["layers"]
            chosen = [
                round(i * (count - 1) / max(min(layers, count) - 1, 1))
                for i in range(min(layers, count))
            ]
            sets = [IndexSet(f"layer {i}", hot[i], file.get_tensor(f"{i}.indices")) for i in chosen]
            found = Sets(
                header["d"],
                header["f"],
                header["block_size"],
                header["group_size"],
                str(folder),
                sets,
            )
        return found, min(len(one.indices) for one in sets) * found.block
    except (SafetensorError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise CaseError(
            f"--from-plan: {path} is not a record of index sets ({type(error).__name__}: {error}); "
            "record it again"
        ) from error


@dataclass
class Case:
    """Inputs of one measurement: x [T, d]; gate, up, down_t [f, d]; down [d, f]; the index sets."""

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

    def __post_init__(self) -> None:
        gen = torch.Generator().manual_seed(self.seed)
        rows = shapes.weights(self.sets.d, self.sets.f, self.dtype, gen)
        x = torch.randn(self.tokens, self.sets.d, generator=gen).to(self.dtype)
        self.gate, self.up, self.down_t, self.down, self.x = (
            page_aligned(t.to(self.device)) for t in (*rows, rows[2].T, x)
        )
        blocks = -(-self.tokens // self.sets.block)
        self.sets.layers = [
            IndexSet(one.name, one.hot, one.indices[:blocks].to(self.device))
            for one in self.sets.layers
        ]
        self.everything = torch.arange(self.sets.f, device=self.device).repeat(blocks, 1)

    def sparse(self, backend: str) -> None:
        """The sparse call of every layer."""
        for one in self.sets.layers:
            self.call(one.indices, one.hot, backend)

    def own_dense(self, backend: str) -> None:
        """The same calls with every neuron kept."""
        for _ in self.sets.layers:
            self.call(self.everything, 0, backend)

    def call(self, indices: Tensor, hot: int, backend: str) -> Tensor:
        """One call of the op on all tokens."""
        return ffkernels.sparse_gated_ffn(
            self.x,
            self.gate,
            self.up,
            self.down_t,
            indices,
            self.sets.block,
            hot=hot,
            group=self.sets.group,
            backend=backend,
        )

    def eager(self) -> None:
        """The dense FFN of every layer as a model writes it."""
        for _ in self.sets.layers:
            dense(self.x, self.gate, self.up, self.down)


def dense(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The FFN as a model writes it; down is [d, f]."""
    linear = torch.nn.functional.linear
    return linear(torch.nn.functional.silu(linear(x, gate)) * linear(x, up), down)


def correctness(case: Case, backend: str) -> tuple[float, float]:
    """Error of the first two blocks against float64, and what is allowed: both relative to the
    largest output.

    Allowed is four times the error of the torch backend on the same input plus one rounding of the
    result.
    """
    one, n = case.sets.layers[0], min(2, len(case.sets.layers[0].indices))
    x = case.x[: n * case.sets.block]
    tensors = (x, case.gate, case.up, case.down_t)

    def call(wide: bool, name: str) -> Tensor:
        inputs = [t.double() if wide else t for t in tensors]
        return ffkernels.sparse_gated_ffn(
            *inputs,
            one.indices[:n],
            case.sets.block,
            hot=one.hot,
            group=case.sets.group,
            backend=name,
        ).double()

    exact = call(True, "reference")
    top = exact.abs().max().item() or 1.0
    found, other = (
        (call(False, name) - exact).abs().max().item() / top for name in (backend, "torch")
    )
    return found, 4 * other + torch.finfo(x.dtype).eps
