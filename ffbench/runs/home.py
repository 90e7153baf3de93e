"""The user's home folder, which containers and batch systems do not always give."""

import os
import tempfile
from pathlib import Path


def home_folder() -> Path | None:
    """The home folder; None without HOME and passwd entry, or if it is the root folder."""
    try:
        path = Path.home()
    except RuntimeError:
        return None
    return path if path.is_absolute() and len(path.parts) > 1 else None


def give_home() -> Path | None:
    """Give this process a temporary home folder if it has none at all; the folder then, else None.

    Without one, libraries fail or make a folder called ~ for their caches.
    """
    try:
        Path.home()
        return None
    except RuntimeError:
        folder = Path(tempfile.gettempdir()) / f"ffbench-home-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():  # someone else's folder of that name
            folder = Path(tempfile.mkdtemp(prefix="ffbench-home-"))
        os.environ["HOME"] = str(folder)
        return folder
