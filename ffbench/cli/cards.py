"""CUDA cards of this machine: one per process of a sweep."""

import fcntl
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ffbench.runs.files import disk_errors, make_folder

if TYPE_CHECKING:
    from ffbench.cli.compose import Job

VISIBLE = "CUDA_VISIBLE_DEVICES"

_claimed: list[int] = []  # open lock file of this process's card; closed when the process ends


def visible_cards(jobs: "Iterable[Job]") -> list[str]:
    """The cards that processes may use, as CUDA_VISIBLE_DEVICES names them; none for CPU jobs."""
    devices = {str(getattr(job.settings.model, "device", "auto")) for job in jobs}
    if devices <= {"cpu", "mps"}:
        return []
    if os.environ.get(VISIBLE) is not None:
        return [card.strip() for card in os.environ[VISIBLE].split(",") if card.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def card_problem(cards: Iterable[str], processes: int | None) -> str | None:
    """Why `processes` processes cannot have a card each; None if they can or need none."""
    count = len(tuple(cards))
    if not count or not isinstance(processes, int) or 0 < processes <= count:
        return None
    asked = "a process per core" if processes < 1 else f"{processes} processes"
    return (
        f"launcher: joblib would run {asked} on {count} card{'s' if count > 1 else ''}; use "
        f"hydra.launcher.n_jobs={count}, or model.device=cpu"
    )


def claim_card(output_dir: str, cards: Iterable[str]) -> str | None:
    """Take a card that no other process of the output folder uses, until this process ends.

    CUDA reads the choice when it starts, so a process keeps its card for all of its jobs. Returns
    the card; None if all are taken, which leaves the choice to the job.
    """
    if _claimed:
        return os.environ[VISIBLE]
    folder = make_folder(Path(output_dir) / ".machines")
    for card in cards:
        path = folder / f"{platform.node()}.card-{card}"
        with disk_errors("lock", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        _claimed.append(descriptor)
        os.environ[VISIBLE] = card
        return card
    return None
