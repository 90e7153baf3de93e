"""Freed memory is kept: a large block after one of its size makes no new pages."""

import os
import subprocess
import sys

import pytest

from ffkernels import host_memory

SIZE = 50_000_000  # above the 32 MB that glibc may choose to keep by itself
COUNT = f"""
import ctypes, resource, sys
from ffkernels.host_memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]

def fill():
    block = library.malloc({SIZE})
    ctypes.memset(block, 1, {SIZE})
    library.free(block)

fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, **environment: str) -> tuple[str, int]:
    """What `keep_freed_memory` says in a new process, and page faults of its second block."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    plain.pop("GLIBC_TUNABLES", None)
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", COUNT, mode],
        env=plain | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_the_second_block_makes_no_new_pages() -> None:
    pages = SIZE // os.sysconf("SC_PAGE_SIZE")
    plain, kept = faults("plain"), faults("keep")
    if kept[0] == "False":
        pytest.skip("no glibc here")
    assert kept[1] < pages // 100
    # a system that makes huge pages of it has one fault per 2 MB
    assert plain[1] >= SIZE // 2**21


def test_a_user_s_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert host_memory.user_settings() == ["MALLOC_ARENA_MAX"]
    assert not host_memory.keep_freed_memory()
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    assert host_memory.user_settings() == ["GLIBC_TUNABLES"]
    assert not host_memory.keep_freed_memory()


def test_without_glibc_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "user_settings", lambda: [])
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: object())
    assert not host_memory.keep_freed_memory()
