"""Where a model runs and in which dtype, and the line at a run's start that says so."""

import re
from functools import lru_cache
from pathlib import Path

import torch

from ffbench.models.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
NVIDIA_CARDS = Path("/proc/driver/nvidia/gpus")


def device_problem(name: str) -> str | None:
    """Why `model.device` cannot be `name` on this machine; None if it can."""
    if not DEVICE.fullmatch(name):
        return f"model.device: {name!r} is unknown. Valid: auto, cpu, cuda, cuda:N, mps"
    if name == "mps" and not torch.backends.mps.is_available():
        return "model.device: 'mps' is not available here; use model.device=auto"
    if not name.startswith("cuda"):
        return None
    if not torch.cuda.is_available():
        return (
            f"model.device: {name!r}, but torch {torch.__version__} sees no CUDA card; use "
            "model.device=cpu, or install a CUDA build of torch if this machine has a card"
        )
    count, number = torch.cuda.device_count(), int(name.partition(":")[2] or 0)
    if number >= count:
        cards = "1 card" if count == 1 else f"{count} cards"
        return f"model.device: {name!r}, but torch sees {cards}; use cuda:0 to cuda:{count - 1}"
    return None


def resolve_device(name: str) -> torch.device:
    """The device that `name` means here: auto is CUDA, else Apple's MPS, else the CPU.

    Raises ModelError if this machine does not have it.
    """
    if problem := device_problem(name):
        raise ModelError(problem)
    if name != AUTO:
        return torch.device(name if name != "cuda" else "cuda:0")
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_dtype(name: str, device: torch.device, checkpoint: str | None) -> str:
    """The dtype that `name` means on `device`; `checkpoint` is the dtype of the stored weights.

    auto is the checkpoint's own on a card and on a CPU with AMX, and float32 on other CPUs, where
    half precision is slower. Weights stored in no dtype of torch's (None: GGUF, random) are
    bfloat16 on a card and float32 on any CPU. Raises ModelError for an unknown name.
    """
    if name != AUTO:
        if name not in DTYPES:
            raise ModelError(
                f"model.dtype: {name!r} is unknown. Valid: {', '.join([AUTO, *DTYPES])}"
            )
        return name
    if device.type == "cpu":
        return checkpoint if checkpoint in DTYPES and has_amx() else "float32"
    return checkpoint if checkpoint in DTYPES else "bfloat16"


@lru_cache(maxsize=1)
def has_amx() -> bool:
    """Whether this processor multiplies bfloat16 tiles (AMX)."""
    try:
        return " amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def unused_card(device: torch.device) -> str | None:
    """What to do about a card that is here but not used; None if there is none."""
    if device.type != "cpu":
        return None
    if torch.cuda.is_available():
        return f"{card_name(0)} is present but not used; use model.device=cuda"
    if torch.backends.mps.is_available():
        return "this machine's GPU is present but not used; use model.device=mps"
    if NVIDIA_CARDS.is_dir() and any(NVIDIA_CARDS.iterdir()):
        return (
            f"an NVIDIA card is present but torch {torch.__version__} cannot use it; install a "
            "CUDA build of torch"
        )
    return None


def card_name(index: int) -> str:
    """Name of a CUDA card."""
    return str(torch.cuda.get_device_name(index))


def start_line(device: torch.device, dtype: str | torch.dtype, backend: str) -> str:
    """The line at a run's start: device, card, dtype, backend, and a card that is not used."""
    place = str(device)
    if device.type == "cuda":
        place += f" ({card_name(device.index or 0)})"
    elif device.type == "cpu":
        place += f" ({torch.get_num_threads()} threads)"
    line = f"device {place}, {str(dtype).removeprefix('torch.')}, kernel backend {backend}"
    unused = unused_card(device)
    return f"{line}; WARNING: {unused}" if unused else line
