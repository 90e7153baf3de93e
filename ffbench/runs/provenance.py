"""Where a result came from: code, versions, processor, threads and command; no host or user
names.
"""

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ffbench.runs.home import home_folder
from ffbench.runs.run_folder import now

PACKAGES = (
    "ffbench",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "gguf",
    "triton",
    "numpy",
    "lm_eval",
    "datasets",
    "hydra-core",
    "omegaconf",
    "wandb",
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TORCH_NUM_THREADS",
)
SECRET = re.compile(r"(?i)((?:api_?key|token(?!s=[\d,]+$)|secret|password)[\w.]*=)\S+")
REPOSITORY = Path(__file__).resolve().parents[2]


def collect(command: Sequence[str], device: str = "cpu") -> dict[str, Any]:
    """Provenance of a run started now by `command`, whose secrets and home folder are masked.

    `device` is the model's; a card is named only if the model is on it. What cannot be found is
    None.
    """
    sha, diff = git_state()
    return {
        "git_sha": sha,
        "git_dirty": None if sha is None else diff is not None,
        "git_diff_sha256": diff,
        "versions": package_versions(),
        "python": platform.python_version(),
        "system": platform.system(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "threads": thread_counts(),
        "device": device,
        "gpu": gpu_name(device),
        "memory_bytes": memory_bytes(),
        "command": [masked(word) for word in command],
        "started": now(),
    }


def masked(word: str) -> str:
    """`word` without secrets, and with ~ for the home folder at the beginning of a path."""
    home = home_folder()
    if home is not None:
        word = re.sub(rf"(?<![\w.~/-]){re.escape(str(home))}(?=/|[^\w.-]|$)", "~", word)
    return SECRET.sub(r"\1***", word)


@lru_cache(maxsize=1)
def git_state() -> tuple[str | None, str | None]:
    """Commit of the checkout that ffbench runs from, and the SHA-256 of its uncommitted changes
    (None if clean).
    """
    sha = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if sha else None
    if not changes:
        return sha, None
    return sha, hashlib.sha256((_git("diff", "HEAD") or changes).encode()).hexdigest()


def _git(*arguments: str) -> str | None:
    if not (REPOSITORY / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    versions = []
    for name in PACKAGES:
        try:
            versions.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(versions)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that shape a result; a package that is not installed is
    left out.
    """
    return dict(_versions())


def cpu_name() -> str | None:
    """Processor model as the kernel names it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or None
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.machine()


def clock_mhz() -> float | None:
    """The processor's present clock, mean over its cores; None if the kernel does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    clocks = [float(text) for text in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)]
    return sum(clocks) / len(clocks) if clocks else None


def memory_bytes() -> int | None:
    """Physical memory in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def thread_counts() -> dict[str, int | str]:
    """Thread settings from the environment, and torch's own count if torch is imported."""
    counts: dict[str, int | str] = {
        name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        counts["torch"] = torch.get_num_threads()
    return counts


def gpu_name(device: str) -> str | None:
    """Name of the card that `device` (cuda or cuda:N) is; None for any other device."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(int(device.partition(":")[2] or 0)))
