"""What the measured environment has: a card, its driver, torch, triton and other packages."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES = ("torch", "triton", "pytest", "transformers", "hydra")
SECONDS = 60  # importing torch from a cold disk

PROBE = """
import importlib.util, json, sys
names = json.loads(sys.argv[1])
seen = {"packages": [name for name in names if importlib.util.find_spec(name)]}
seen["python"] = sys.version.split()[0]
if "torch" in seen["packages"]:
    import torch
    seen["torch"], seen["cuda"] = torch.__version__, torch.version.cuda
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        seen["card"] = card.name
        seen["capability"] = f"{card.major}.{card.minor}"
        seen["memory_gib"] = round(card.total_memory / 2**30, 1)
        seen["uuid"] = str(card.uuid)
if "triton" in seen["packages"]:
    import triton
    seen["triton"] = triton.__version__
print(json.dumps(seen))
"""


@dataclass(frozen=True)
class Environment:
    """Versions and the card; None for what is not there."""

    python: str
    packages: tuple[str, ...]
    torch: str | None = None
    cuda: str | None = None
    triton: str | None = None
    card: str | None = None
    capability: str | None = None
    memory_gib: float | None = None
    driver: str | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: float | None = None

    def facts(self) -> dict[str, object]:
        """JSON-ready mapping."""
        return asdict(self)


class EnvironmentProblem(Exception):
    """The interpreter cannot be asked; the message is one line."""


def driver_facts(card: str = "0") -> dict[str, object]:
    """Driver, power limit and highest clock of a card from `nvidia-smi`, by its index there or its
    UUID; empty without it.
    """
    query = "driver_version,power.limit,clocks.max.sm"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    command.append(f"--id={card}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = [value.strip() for value in done.stdout.split(",")]
    if done.returncode or len(values) != 3:
        return {}
    return {
        "driver": values[0],
        "power_limit_w": number(values[1]),
        "sm_clock_mhz": number(values[2]),
    }


def number(text: str) -> float | None:
    """The number in a text, None for "[N/A]" and the like."""
    try:
        return float(text)
    except ValueError:
        return None


def environment(python: Sequence[str], root: Path) -> Environment:
    """Ask an interpreter, given as the start of a command, what it has.

    Raises EnvironmentProblem if it does not answer.
    """
    command = [*python, "-c", PROBE, json.dumps(PACKAGES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=root)
        seen = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(f"import of torch took more than {SECONDS} s") from error
    except (OSError, ValueError, IndexError) as error:
        last = (
            done.stderr.strip().splitlines()[-1:] if isinstance(error, IndexError) else [str(error)]
        )
        raise EnvironmentProblem(f"{python[0]} does not answer: {' '.join(last)}") from error
    # by its UUID: CUDA_VISIBLE_DEVICES numbers cards anew, nvidia-smi does not
    uuid = seen.pop("uuid", None)
    facts = driver_facts() if uuid is None else driver_facts(f"GPU-{uuid}")
    return Environment(**{**seen, "packages": tuple(seen["packages"]), **facts})
