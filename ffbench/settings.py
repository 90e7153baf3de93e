"""Settings of one run: plain dataclasses, the only form in which the library sees a
configuration.
"""

from dataclasses import dataclass, field

from ffbench.tracking.base import TrackerSettings

MISSING: str = "???"


@dataclass
class ModelSettings:
    """Where the weights come from; see `ffbench.models.loading.ModelSpec`."""

    name: str = MISSING
    source: str = MISSING
    location: str = MISSING
    revision: str | None = None
    dtype: str = "float32"
    trust_remote_code: bool = False


@dataclass
class SelectorSettings:
    """Which neurons a block keeps; hot_fraction is the share of them that is the same for every
    block.
    """

    name: str = MISSING
    hot_fraction: float = 0.0


@dataclass
class CompensatorSettings:
    """How skipped neurons are made up for; `rank` of the surrogate, `map_rank` of the output map,
    `tune_steps`.
    """

    name: str = MISSING
    rank: int = 128
    tune_steps: int = 0
    map_rank: int = 0


@dataclass
class SchedulerSettings:
    """How the kept neurons are shared out over the layers."""

    name: str = MISSING


@dataclass
class TaskSettings:
    """Scored prompts. `limit` is records a task (null: all); `max_length` counts prompt and answer
    tokens.
    """

    name: str = MISSING
    tasks: list[str] = field(default_factory=list)
    data_dir: str | None = None
    limit: int | None = None
    max_length: int = 4096
    protocol: str = "whole"
    batch_size: int = 1


@dataclass
class KernelSettings:
    """Backend of `ffkernels`, and CPU threads of the whole process (0: torch's own choice)."""

    backend: str = "auto"
    threads: int = 0


@dataclass
class CalibrationSettings:
    """Text that plans are fitted on, in tokens: embedded, half prose, half code, or the documents
    of `folder`.
    """

    tokens: int = 65536
    window: int = 2048
    folder: str | None = None


@dataclass
class FidelitySettings:
    """Held-out windows a text, and tokens a window; 0 windows leaves fidelity out."""

    windows: int = 8
    window: int = 2048


@dataclass
class SpeedSettings:
    """Prompt lengths of the TTFT measurement and paired rounds; 0 rounds leaves speed out."""

    lengths: list[int] = field(default_factory=lambda: [2048])
    rounds: int = 5


@dataclass
class RunSettings:
    """Everything that one run needs."""

    model: ModelSettings = field(default_factory=ModelSettings)
    selector: SelectorSettings = field(default_factory=SelectorSettings)
    compensator: CompensatorSettings = field(default_factory=CompensatorSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    task: TaskSettings = field(default_factory=TaskSettings)
    kernel: KernelSettings = field(default_factory=KernelSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    fidelity: FidelitySettings = field(default_factory=FidelitySettings)
    speed: SpeedSettings = field(default_factory=SpeedSettings)
    sparsity: float = 0.5
    block_size: int = 128
    group_size: int = 1
    blocks: str = "consecutive"
    dense_first: bool = True
    dense_last: bool = True
    seed: int = 0
    output_dir: str = "outputs"

    @property
    def dense(self) -> bool:
        """True for sparsity 0, which needs no plan."""
        return self.sparsity == 0
