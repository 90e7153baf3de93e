"""`launcher=ray`: one Ray task per job."""

import socket
from collections.abc import Mapping
from typing import Any

from ffbench.cli.launchers import Died, Failure, LauncherError, Outcome, Task, Work
from ffbench.error_text import first_line

CONNECT_SECONDS = 5.0


def connect(settings: Mapping[str, Any]) -> None:
    """Connect to the running cluster, or start Ray here without an address.

    Raises:
        LauncherError: there is no cluster at the address.

    """
    import ray

    address = settings.get("address")
    host, _, port = str(address or "").rpartition("/")[2].rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself keeps trying for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(**settings)
    except (OSError, RuntimeError, ValueError) as error:
        raise LauncherError(
            f"launcher: no Ray cluster at address {address!r} ({first_line(error)}); start one "
            "with `ray start --head`, or choose hydra.launcher.ray.init.address=null"
        ) from error


def resource_problem(nodes: list[dict[str, Any]], asked: Mapping[str, Any]) -> str | None:
    """Why no live node can ever run a job, for which Ray would wait without end; None if one can.

    `nodes` as `ray.nodes()` lists them, `asked` the arguments of `ray.remote`.
    """
    wanted = {
        "GPU": ("num_gpus", asked.get("num_gpus") or 0),
        "CPU": ("num_cpus", asked.get("num_cpus") or 0),
    }
    live = [node.get("Resources", {}) for node in nodes if node.get("Alive")]
    if any(
        all(node.get(kind, 0) >= number for kind, (_, number) in wanted.items()) for node in live
    ):
        return None
    most = {kind: max((node.get(kind, 0) for node in live), default=0) for kind in wanted}
    there = ", ".join(f"{most[kind]:g} {kind}" for kind in wanted)
    needs = ", ".join(f"{number:g} {kind}" for kind, (_, number) in wanted.items())
    return (
        f"launcher: a job needs {needs} on one node of the Ray cluster, and its largest nodes have "
        f"{there}; lower hydra.launcher.ray.remote.num_gpus or num_cpus, or add a node"
    )


class RayTasks:
    """Jobs as tasks of a Ray cluster; `init` and `remote` are those of `RayCluster`."""

    def __init__(self, init: Mapping[str, Any], remote: Mapping[str, Any]) -> None:
        self._init, self._remote = init, remote

    def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
        """The outcomes. At the end, or at an interrupt, the connection and its tasks end too.

        Raises:
            LauncherError: no cluster, or none of its nodes can run a job.

        """
        import ray

        connect(self._init)
        try:
            if problem := resource_problem(ray.nodes(), self._remote):
                raise LauncherError(problem)
            remote = ray.remote(**self._remote)(call)
            references = {key: remote.remote(task, work) for key, work in jobs.items()}
            return {key: outcome_of(reference) for key, reference in references.items()}
        finally:
            ray.shutdown()


def call(task: Task, work: Work) -> Failure | None:
    """The task as a function, which Ray asks for."""
    return task(work)


def outcome_of(reference: Any) -> Outcome:
    """What became of one job, waited for."""
    import ray

    try:
        outcome: Failure | None = ray.get(reference)
    except ray.exceptions.RayError as error:
        return Died(f"{type(error).__name__}: {first_line(error)}")
    return outcome
