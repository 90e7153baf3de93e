"""The settings of each launcher as Hydra knows them, under `hydra.launcher`, and its package."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore

PREFIX = "ffbench_"  # Hydra's own plugins, which may be installed too, have the plain names
# `launcher=` word -> package that it needs, and how to install it
PACKAGES = {
    "joblib": ("loky", "pip install ffbench"),
    "slurm": ("submitit", "pip install 'ffbench[slurm]'"),
    "ray": ("ray", "pip install 'ffbench[ray]'"),
}


@dataclass
class JoblibSettings:
    """Local processes. n_jobs: how many; -1 for one per core."""

    n_jobs: int = 2


@dataclass
class SlurmSettings:
    """Slurm jobs, as submitit's AutoExecutor takes them; null leaves a choice to the cluster."""

    submitit_folder: str = "${hydra.sweep.dir}/slurm/%j"
    name: str = "ffbench"
    timeout_min: int = 240
    cpus_per_task: int | None = None
    mem_gb: int | None = None
    gpus_per_node: int | None = None
    stderr_to_stdout: bool = False
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    comment: str | None = None
    cpus_per_gpu: int | None = None
    gpus_per_task: int | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    array_parallelism: int = 64
    signal_delay_s: int = 120
    max_num_timeout: int = 0
    setup: list[str] | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class RayCluster:
    """init: arguments of `ray.init`. remote: arguments of `ray.remote` for each job."""

    init: dict[str, Any] = field(default_factory=dict)
    remote: dict[str, Any] = field(default_factory=dict)


@dataclass
class RaySettings:
    """Jobs on a Ray cluster."""

    ray: RayCluster = field(default_factory=RayCluster)


def store_launchers() -> None:
    """Make the settings known to Hydra."""
    for name, kind in (
        ("joblib", JoblibSettings),
        ("slurm", SlurmSettings),
        ("ray", RaySettings),
    ):
        ConfigStore.instance().store(f"{PREFIX}{name}", kind, group="hydra/launcher")


def installed(name: str) -> bool:
    """Whether the package of a launcher is installed; True for one that needs none."""
    return name not in PACKAGES or find_spec(PACKAGES[name][0]) is not None
