"""Trackers: mirrors of a run's files. A tracker never stops a run and never makes it wait long."""

import netrc
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ffbench.runs.home import home_folder

DEFAULT_SERVER = "https://api.wandb.ai"
KINDS = ("wandb", "trackio", "none")
PROBE_SHARE, START_SHARE = 0.3, 0.5
MODES = ("auto", "online", "offline", "disabled")
WANDB_MODES = ("auto", "online", "offline", "disabled", "dryrun", "run")

_warned: set[str] = set()


@dataclass
class TrackerSettings:
    """Which tracker, and how long it may take.

    `mode`, `entity` and `timeout` are W&B's; trackio is always local. `mode` auto is online if an
    API key is found, else offline; the variable WANDB_MODE wins over auto. `timeout` bounds, in
    seconds, what an unreachable server costs at the start, and what one that goes away during the
    run costs.
    """

    kind: str = "wandb"  # wandb, trackio or none
    mode: str = "auto"  # auto, online, offline or disabled
    project: str = "ffbench"  # project of the tracker
    entity: str | None = None  # W&B user or team; null: your default one
    timeout: float = 10.0  # seconds that a server which does not answer may cost

    def problems(self) -> list[str]:
        """Every invalid value, one sentence each."""
        problems = []
        if self.kind not in KINDS:
            problems.append(f"tracker.kind is {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.mode not in MODES:
            problems.append(f"tracker.mode is {self.mode!r}; choose one of {', '.join(MODES)}")
        if not self.project or set(self.project) & set("/\\#?%:"):
            problems.append(
                f"tracker.project is {self.project!r}; it needs a name without / \\ # ? % :"
            )
        if not 0.5 <= self.timeout <= 60:
            problems.append(f"tracker.timeout is {self.timeout}; choose 0.5 to 60 seconds")
        return problems if self.kind != "wandb" else problems + environment_problems(self.mode)


def environment_problems(mode: str) -> list[str]:
    """Every invalid value among W&B's environment variables that would be used with tracker mode
    `mode`.
    """
    problems, named = [], os.environ.get("WANDB_MODE", "auto")
    if mode == "auto" and named not in WANDB_MODES:
        problems.append(
            f"WANDB_MODE is {named!r}; choose one of {', '.join(WANDB_MODES[1:])}, or unset it"
        )
    address = urlsplit(server())
    if address.scheme not in ("http", "https") or not address.netloc:
        problems.append(
            f"WANDB_BASE_URL is {server()!r}; give http://HOST or https://HOST, or unset it"
        )
    return problems


class Tracker(Protocol):
    """What a run mirrors: metrics, tables, pictures and the plan folder."""

    def log(self, metrics: dict[str, Any]) -> None:
        """Log named numbers as the next step of a history (nested mappings are joined with '/')."""

    def summary(self, metrics: dict[str, Any]) -> None:
        """Set the final metrics; setting them again changes nothing."""

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log rows as a table; the columns are those of all rows, in order of appearance."""

    def image(self, name: str, path: Path) -> None:
        """Log a picture file."""

    def artifact(self, folder: Path) -> None:
        """Log a folder as an artifact named after it and the run."""

    def finish(self, status: str) -> None:
        """End the mirror; `status` is done or failed."""


class NullTracker:
    """Mirrors nothing."""

    def log(self, metrics: dict[str, Any]) -> None:
        """Does nothing."""

    def summary(self, metrics: dict[str, Any]) -> None:
        """Does nothing."""

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Does nothing."""

    def image(self, name: str, path: Path) -> None:
        """Does nothing."""

    def artifact(self, folder: Path) -> None:
        """Does nothing."""

    def finish(self, status: str) -> None:
        """Does nothing."""


def warn_once(text: str) -> None:
    """Print one line to stderr, the same line once per process."""
    if text not in _warned:
        _warned.add(text)
        print(text, file=sys.stderr, flush=True)


def chosen_mode(settings: TrackerSettings) -> str:
    """online, offline or disabled: the setting, else WANDB_MODE, else by whether a key and a server
    are there.
    """
    mode = settings.mode
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE", "disabled" if switched_off() else "auto")
        mode = "offline" if mode == "dryrun" else mode
    if settings.kind == "none" or mode in ("disabled", "offline"):
        return "disabled" if settings.kind == "none" else mode
    if not has_key():
        warn_once(
            "W&B: offline, since there is no API key; runs can be sent later with `python -m "
            "ffbench sync`."
        )
        return "offline"
    problem = unreachable(server(), settings.timeout * PROBE_SHARE)
    if problem:
        warn_once(
            f"W&B: offline, since {server()} does not answer ({problem}); send the runs later with "
            "`python -m ffbench sync`."
        )
        return "offline"
    return "online"


def switched_off() -> bool:
    """Whether W&B's older variable WANDB_DISABLED turns it off."""
    return os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes")


def server() -> str:
    """Base address of the W&B server in use."""
    return os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER).rstrip("/")


def has_key() -> bool:
    """Whether the environment or the netrc file holds a key for the server (the key itself is
    not kept).
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    home = home_folder()
    named = os.environ.get("NETRC") or (home / ".netrc" if home else None)
    if named is None:
        return False
    try:
        return netrc.netrc(named).authenticators(urlsplit(server()).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def unreachable(url: str, timeout: float) -> str | None:
    """Why no HTTP answer came from `url` within `timeout` seconds, name look-up included; None
    if one came.
    """
    outcome: list[str | None] = []
    bounded(lambda: outcome.append(_probe(url, timeout)), timeout)
    return outcome[0] if outcome else f"no answer in {timeout:.0f} s"


def _probe(url: str, timeout: float) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def bounded(call: Callable[[], object], timeout: float) -> bool:
    """Run `call` in a daemon thread for at most `timeout` seconds; True if it ended by then.

    Raises:
        BaseException: whatever `call` raised in time.

    """
    errors: list[BaseException] = []

    def body() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(timeout)
    if errors:
        raise errors[0]
    return not thread.is_alive()
