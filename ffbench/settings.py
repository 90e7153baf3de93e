"""Settings of one run: plain dataclasses, the only form in which the library sees a
configuration.
"""

from dataclasses import dataclass, field
from typing import Any

from ffbench.methods.objective import Objective
from ffbench.tracking.base import TrackerSettings

MISSING: str = "???"


@dataclass
class ModelSettings:
    """Where the weights come from, and how they are loaded; see `models.loading.ModelSpec`.

    file: one of several checkpoints in a folder. device: auto (a card if there is one), cpu, cuda,
    cuda:N or mps. dtype: auto is the checkpoint's own on a card and with AMX, float32 elsewhere.
    device_map, attn_implementation: passed on to transformers.
    """

    name: str = MISSING
    source: str = MISSING
    location: str = MISSING
    file: str | None = None
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    device_map: str | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False


@dataclass
class TaskSettings:
    """Scored prompts. `limit` is records per task (null: all); `max_length` counts prompt and
    answer tokens; `seed` is of generated records; `json_lines` defines tasks of your own
    (docs/extending.md).
    """

    name: str = MISSING
    tasks: list[str] = field(default_factory=list)
    json_lines: dict[str, Any] = field(default_factory=dict)
    data_dir: str | None = None
    limit: int | None = None
    seed: int = 0
    max_length: int = 4096
    protocol: str = "whole"
    batch_size: int = 1
    decode: bool = True


@dataclass
class KernelSettings:
    """Backend of `ffkernels`, and CPU threads of the timings (0: as many as torch takes)."""

    backend: str = "auto"
    threads: int = 0


@dataclass
class CalibrationSettings:
    """Text that plans are fitted on, in tokens: embedded, half prose, half code, or the documents
    of `folder`.
    """

    tokens: int = 32768
    window: int = 2048
    folder: str | None = None


@dataclass
class FidelitySettings:
    """Windows per text that answers are judged on, and the contexts before them.

    windows: per text and context, each from a document of its own (0 leaves fidelity out).
    contexts: prompt lengths in tokens. tail: dense tokens after the prompt. tails: which kinds are
    judged. prompt_windows: of each text, those on which the prompt's own tokens are judged too.
    part: heldout, or test for figures that are published.
    """

    windows: int = 16
    contexts: list[int] = field(default_factory=lambda: [1536])
    tail: int = 255
    tails: list[str] = field(default_factory=lambda: ["continuation", "copy", "question"])
    prompt_windows: int = 2
    part: str = "heldout"


@dataclass
class SpeedSettings:
    """Prompt lengths of the time to the first token, paired rounds per process, and fresh
    processes; 0 rounds leaves speed out.

    wide_shape: a shape of `ffbench.models.shapes` that is timed too, with random weights.
    """

    lengths: list[int] = field(default_factory=lambda: [2048])
    rounds: int = 2
    processes: int = 3
    wide_shape: str | None = None

    def key_parameters(self) -> dict[str, Any]:
        """What identifies the speed of a run; without a wide shape, that of runs before there was
        one.
        """
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class RunSettings:
    """Everything that one run needs.

    selector, compensator, scheduler: a method's name and its parameters. sparsity: share of the
    neurons skipped in sparse blocks (0: the dense model). block_size: tokens per block. blocks:
    consecutive tokens or similar ones. group_size: neurons are kept in whole groups of this many.
    hot_fraction: share of the kept neurons that are the same for every block. first_dense,
    last_dense: tokens at the ends of a prompt that run dense. plugins: modules with methods of
    your own. output_dir: where runs and shared stages are kept.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    selector: dict[str, Any] = field(default_factory=dict)
    compensator: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    objective: Objective = field(default_factory=Objective)
    task: TaskSettings = field(default_factory=TaskSettings)
    kernel: KernelSettings = field(default_factory=KernelSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    fidelity: FidelitySettings = field(default_factory=FidelitySettings)
    speed: SpeedSettings = field(default_factory=SpeedSettings)
    sparsity: float = 0.5
    block_size: int = 128
    blocks: str = "consecutive"
    group_size: int = 1
    hot_fraction: float = 0.0
    first_dense: int = 128
    last_dense: int = 128
    seed: int = 0
    plugins: list[str] = field(default_factory=list)
    output_dir: str = "outputs"

    @property
    def dense(self) -> bool:
        """True for sparsity 0, which needs no plan."""
        return self.sparsity == 0
