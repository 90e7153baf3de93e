"""The machine that a run's times come from: a search learns from the times of one machine only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffbench.runs.files import read_json
from ffbench.runs.store import RunFolder


@dataclass(frozen=True)
class TimingMachine:
    """What times depend on besides the run. device is cpu, cuda or mps; the instruction set tells
    processors apart whose model a virtual machine hides.
    """

    device: str
    gpu: str | None
    cpu: str | None
    instruction_set: str | None
    threads: int | None

    def text(self) -> str:
        """The machine in words."""
        words = [self.gpu, self.cpu, self.instruction_set]
        words += [f"{self.threads} threads" if self.threads else None]
        return ", ".join(word for word in words if word) or "an unknown machine"


def machine_of(run: RunFolder) -> TimingMachine | None:
    """The machine that timed a finished run; None if the run has no times."""
    result = run.result()
    speed: Mapping[str, Any] | None = result.get("speed")
    if not speed:
        return None
    path = run.path / "provenance.json"
    gpu = read_json(path).get("gpu") if path.exists() else None
    return TimingMachine(
        str(result.get("device")).partition(":")[0],
        gpu,
        speed.get("cpu"),
        speed.get("instruction_set"),
        speed.get("threads"),
    )
