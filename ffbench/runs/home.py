"""The user's home folder, which containers and batch systems do not always give."""

from pathlib import Path


def home_folder() -> Path | None:
    """The home folder; None without HOME and passwd entry, or if it is the root folder."""
    try:
        path = Path.home()
    except RuntimeError:
        return None
    return path if path.is_absolute() and len(path.parts) > 1 else None
