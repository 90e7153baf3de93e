"""Keep freed memory of the host for the next tensor, as caching allocators do."""

import ctypes
import os

# Parameters of mallopt, from glibc's malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
PAD = 64 << 20  # bytes by which the heap grows at least
SETTINGS = ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, PAD))


def user_settings() -> list[str]:
    """Environment variables by which a user has set glibc's malloc already."""
    named = [name for name in sorted(os.environ) if name.startswith("MALLOC_")]
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        named.append("GLIBC_TUNABLES")
    return named


def keep_freed_memory() -> bool:
    """Make this process keep the memory that it frees; whether it does so from now on.

    glibc gives large blocks back to the system as soon as they are free, so every large tensor
    is made of new pages, and each page costs a fault: 300,000 of them and a fifth of the
    processor's time in a prefill of 2,048 tokens (docs/measuring.md). A process then stays as large
    as it has ever been. For programs, not for libraries: it holds for the whole process. False
    without glibc, or where the user has set its malloc by environment variables.
    """
    if user_settings():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in SETTINGS)
