"""Compile the C++ backend at first use and keep the library in a cache folder."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

SOURCES = Path(__file__).with_name("csrc")
COMMON = (
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wno-psabi",
    "-Wno-maybe-uninitialized",
)  # GCC 12 warns inside its own AVX-512 header
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
# Object name: source and flags. LANES floats make a vector, ROWS weight rows and two vectors a
# register tile.
UNITS: dict[str, tuple[str, ...]] = {
    "entry": ("entry.cpp",),
    "avx2": ("float_piece.cpp", "-DPIECE=ffn_piece_avx2", "-DLANES=8", "-DROWS=6", *AVX2),
    "avx512": ("float_piece.cpp", "-DPIECE=ffn_piece_avx512", "-DLANES=16", "-DROWS=12", *AVX512),
    "avx512_bf16": (
        "pair_piece.cpp",
        "-DPIECE=ffn_piece_avx512_bf16",
        "-DTILE=DotTile",
        '-DTILE_HEADER="dot_tile.h"',
        *AVX512,
        "-mavx512bf16",
    ),
    "amx_bf16": (
        "pair_piece.cpp",
        "-DPIECE=ffn_piece_amx_bf16",
        "-DTILE=AmxTile",
        '-DTILE_HEADER="amx_tile.h"',
        *AVX512,
        "-mamx-tile",
        "-mamx-bf16",
    ),
    "amx_emulated": (
        "pair_piece.cpp",
        "-DPIECE=ffn_piece_amx_emulated",
        "-DTILE=AmxTile",
        '-DTILE_HEADER="amx_tile.h"',
        *AVX512,
    ),
}


class BuildError(RuntimeError):
    """The C++ backend cannot be built here; the text says why."""


def cache_folder() -> Path:
    """FFKERNELS_CACHE, else the user's cache folder for ffkernels."""
    named = os.environ.get("FFKERNELS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "ffkernels"


def compiler() -> str:
    """Path of the C++ compiler: CXX, else g++, else clang++. Raises BuildError when there is
    none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise BuildError(f"no C++ compiler found (looked for {', '.join(names)}; set CXX)")
    return found


def loaded_openmp() -> str | None:
    """File of the OpenMP runtime that torch has loaded, so that one thread pool serves both; None
    where unknown.
    """
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    files = (line.split(maxsplit=5)[5] for line in lines if line.count("/"))
    return next((file for file in files if "gomp" in Path(file).name), None)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        text = done.stderr.strip() or f"exit code {done.returncode}"
        first = next((line for line in text.splitlines() if "error" in line), text.splitlines()[0])
        raise BuildError(f"{Path(command[0]).name} failed: {first}")
    return done.stdout


@functools.cache
def library(units: tuple[tuple[str, tuple[str, ...]], ...] = tuple(UNITS.items())) -> Path:
    """Path of the shared library of `units`, built if the cache has none for these sources, flags
    and compiler.

    Safe where many processes ask at once: one builds, the others wait. Raises BuildError.
    """
    cxx, openmp = compiler(), loaded_openmp()
    digest = hashlib.sha256(repr((units, COMMON, openmp, _run([cxx, "--version"]))).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    target = cache_folder() / f"ffkernels-{digest.hexdigest()[:16]}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                _compile(cxx, units, openmp, target)
    except OSError as error:
        raise BuildError(
            f"cache folder {target.parent} cannot be used ({error}); set FFKERNELS_CACHE"
        ) from error
    return target


def _compile(
    cxx: str, units: tuple[tuple[str, tuple[str, ...]], ...], openmp: str | None, target: Path
) -> None:
    """Compile every unit, link them beside `target` and move the result there in one step."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = [f"{folder}/{name}.o" for name, _ in units]
        commands = [
            [cxx, *COMMON, *flags, "-c", str(SOURCES / source), "-o", target]
            for (_, (source, *flags)), target in zip(units, objects, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        link = [openmp] if openmp else ["-fopenmp"]
        _run([cxx, "-shared", *objects, "-o", f"{folder}/library.so", *link])
        os.replace(f"{folder}/library.so", target)
