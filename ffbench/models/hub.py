"""The commit of a hub model: branches such as `main` move, and a commit does not."""

import re
from functools import lru_cache
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")
ANSWER_SECONDS = 10.0


@lru_cache(maxsize=64)
def commit_of(location: str, revision: str | None) -> str | None:
    """The commit that a revision (None: main) of a hub model is at: by the hub's answer or, if it
    gives none, by the newest snapshot of that revision in the cache. None if neither knows it.

    Asked once per process, so that all jobs of a process use the same weights.
    """
    if revision and COMMIT.fullmatch(revision):
        return revision
    return asked(location, revision) or cached(location, revision)


def asked(location: str, revision: str | None) -> str | None:
    """The hub's answer; None without one. Why there is none is told when the model is loaded."""
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(location, revision=revision, timeout=ANSWER_SECONDS).sha
    except Exception:  # noqa: BLE001 - no network, offline mode, a bad id, no licence, any status
        return None


def cached(location: str, revision: str | None) -> str | None:
    """The commit whose snapshot in the cache holds the model's configuration; None without one."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(location, "config.json", revision=revision)
    except HFValidationError:
        return None
    name = Path(path).parent.name if isinstance(path, str) else ""
    return name if COMMIT.fullmatch(name) else None
