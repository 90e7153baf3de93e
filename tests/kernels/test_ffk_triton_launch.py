"""What a call on a GPU launches and reads, seen without a card: fake CUDA tensors, recorded launches."""

import contextlib
from typing import Any

import ffk_cases
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton")

from ffkernels import op
from ffkernels.triton import kernels, launch, select_kernels, tiles

F16 = torch.float16


class Recorder:
    """Stands in for a Triton kernel: `kernel[grid](...)` is kept, nothing runs."""

    def __init__(self, name: str, launches: list[tuple[str, int, dict[str, Any]]]) -> None:
        self.name, self.launches = name, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *_, **options: self.launches.append((self.name, grid[0], options))


class Counter(TorchDispatchMode):
    """Names of the torch operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace != "prim":  # prim::device asks a fake tensor for its device
            self.names.append(func.name())
        return func(*args, **kwargs or {})


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, dict[str, Any]]]:
    """The launches on a card of compute capability 9.0."""
    seen: list[tuple[str, int, dict[str, Any]]] = []
    for name in ("gate_up", "down"):
        monkeypatch.setattr(kernels, name, Recorder(name, seen))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(launch, "on_device_of", lambda x: contextlib.nullcontext())
    return seen


def run(args: dict[str, Any], index_dtype: torch.dtype = torch.int32) -> list[str]:
    """Run the operator on fake CUDA tensors; the names of its torch operations."""
    with FakeTensorMode():
        there = {
            name: torch.empty(
                value.shape,
                dtype=value.dtype if value.is_floating_point() else index_dtype,
                device="cuda",
            )
            if isinstance(value, torch.Tensor)
            else value
            for name, value in args.items()
        }
        with Counter() as counter:
            op._run(
                **{
                    name: there.get(name) for name in ("offsets", "z", "v", "c", "extra", "w_extra")
                },
                **{name: there[name] for name in ("x", "w_gate", "w_up", "w_down_t", "indices")},
                block_size=there["block_size"],
                hot=there["hot"],
                activation="silu",
                group=1,
                backend="triton",
            )
    return counter.names


@pytest.mark.parametrize("kernel", ["gate_up", "down"])
def test_a_prompt_of_another_length_compiles_nothing(kernel: str) -> None:
    lengths = {"tokens", "token_tiles", "block_size", "tiles_per_block"}
    of_a_length = {one.name for one in getattr(kernels, kernel).params if one.do_not_specialize}
    assert of_a_length == lengths


def test_nor_do_the_means_of_its_blocks() -> None:
    of_a_length = {p.name for p in select_kernels.block_means.params if p.do_not_specialize}
    assert of_a_length == {"tokens"}


RAGGED = ffk_cases.make_ragged([512, 128, 0, 512], 128, 64, 512, rank=16, bias=True, dtype=F16)


@pytest.mark.parametrize("hot", [0, 64])
def test_a_call_reads_nothing_and_only_allocates(launches: list, hot: int) -> None:
    """A read of a fake tensor's values would raise."""
    args = ffk_cases.make_ragged([448, 128, 0, 448], 128, 64, 512, hot=hot, dtype=F16)
    names = run(args)
    assert set(names) == {"aten::empty.memory_format"} and len(names) <= 3
    assert [name for name, *_ in launches] == ["gate_up"] * (1 + (hot > 0)) + ["down"]


def test_features_multiplied_into_the_output_cost_no_launch(launches: list) -> None:
    run(ffk_cases.make(300, 64, 512, 128, 256, rank=16, bias=True, extra=48, dtype=F16))
    assert [name for name, *_ in launches] == ["gate_up", "down"]
    assert launches[-1][2]["HAS_EXTRA"]


def test_all_blocks_are_in_one_grid(launches: list) -> None:
    run(RAGGED)
    (_, up_grid, up), (_, down_grid, down) = launches
    up_tile, down_tile = (pick(90, False, 128) for pick in (tiles.gate_up_tile, tiles.down_tile))
    assert up_grid == 4 * 512 // up_tile.n and up["RAGGED"] and up["HAS_Z"] and up["HAS_C"]
    assert down_grid == 4 * -(-64 // down_tile.n) and down["RAGGED"]


def test_int64_indices_cost_a_conversion_each(launches: list) -> None:
    names = run(RAGGED, torch.int64)
    assert names.count("aten::_to_copy") == 2


def test_h_has_room_for_every_block_and_no_more_than_a_tile_per_block(launches: list) -> None:
    """The start of each block in h, as the kernels compute it, against the space allocated."""
    pad = tiles.gate_up_tile(90, False, 128).n
    for counts in ([512, 128, 0, 512], [1, 1, 1, 1], [65, 63, 64, 0], [0, 0, 0, 7]):
        offsets = torch.tensor([0, *counts]).cumsum(0).tolist()
        starts = [offset // pad + block for block, offset in enumerate(offsets[:-1])]
        ends = [start + -(-count // pad) for start, count in zip(starts, counts, strict=True)]
        room = offsets[-1] // pad + len(counts)
        assert all(end <= start for end, start in zip(ends, [*starts[1:], room], strict=True))
        assert room <= sum(-(-count // pad) for count in counts) + len(counts)
