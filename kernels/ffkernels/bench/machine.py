"""What a result line records about the machine and the source."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

GPU_FACTS = ("driver_version", "power.limit", "clocks.max.sm", "clocks.sm")


def cpu_name() -> str:
    """Return the processor's model name; its instruction sets are fields of their own."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def git_sha() -> str | None:
    """Commit of the checkout that this file is in; None outside a checkout.

    Ends with "-dirty" if files differ from the commit.
    """
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            check=True,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def gpu_facts(card: str = "0") -> dict[str, str]:
    """Driver, power limit and clocks of a card from nvidia-smi, by its index there or its UUID;
    empty if nvidia-smi does not know it.
    """
    query = ["nvidia-smi", f"--query-gpu={','.join(GPU_FACTS)}", "--format=csv,noheader"]
    query.append(f"--id={card}")
    try:
        done = subprocess.run(query, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    values = done.stdout.splitlines()[0].split(",") if done.stdout.strip() else []
    return dict(zip(GPU_FACTS, (value.strip() for value in values), strict=False))


def card_facts(device: torch.device) -> dict[str, Any]:
    """Fields of a result line about the device: the card's name, or what the device is called."""
    if device.type != "cuda":
        return {"device": device.type, "cuda": None, "gpu": None}
    return {
        "device": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        # by its UUID: CUDA_VISIBLE_DEVICES numbers cards anew, nvidia-smi does not
        "gpu": gpu_facts(f"GPU-{torch.cuda.get_device_properties(device).uuid}"),
    }


def facts(device: str) -> dict[str, Any]:
    """Fields of a result line about the machine."""
    return {
        "cpu": cpu_name(),
        "torch_instruction_set": torch.backends.cpu.get_cpu_capability(),
        **card_facts(torch.device(device)),
        "torch": torch.__version__,
        "git_sha": git_sha(),
    }
