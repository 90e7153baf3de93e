"""Compile the C++ backend when it is first used and keep the library in a cache folder."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from ffkernels.activations import CODES

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
    "-Wno-maybe-uninitialized",  # GCC 12 warns inside its own AVX-512 header
    *(f"-DFFK_{name.upper()}={code}" for name, code in CODES.items()),
)
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")


def _tile_loop(source: str, entry: str, tile: str, header: str, *flags: str) -> tuple[str, ...]:
    """Source and flags of a tile loop whose tile is a class of a header."""
    names = (f"-DENTRY=ffn_{entry}", f"-DTILE={tile}", f'-DTILE_HEADER="{header}"')
    return (source, *names, *flags)


AMX = ("-mamx-tile", "-mamx-bf16", "-mamx-int8")
WIDE = ("-DLANES=16", *AVX512)  # LANES: floats in a vector
PAIRS, QUADS, FLOATS = "pair_tile_loop.cpp", "int8_tile_loop.cpp", "float_tile_loop.cpp"
# Object name: source and flags. The float tile has ROWS weight rows and two vectors: its sums fill
# 12 of 16 registers (AVX2) or 24 of 32 (AVX-512).
UNITS: dict[str, tuple[str, ...]] = {
    "entry": ("entry.cpp",),
    "avx2": (FLOATS, "-DENTRY=ffn_avx2", "-DROWS=6", "-DLANES=8", *AVX2),
    "avx512": (FLOATS, "-DENTRY=ffn_avx512", "-DROWS=12", *WIDE),
    "avx512_bf16": _tile_loop(PAIRS, "avx512_bf16", "DotTile", "dot_tile.h", *WIDE, "-mavx512bf16"),
    "amx_bf16": _tile_loop(PAIRS, "amx_bf16", "AmxTile", "amx_tile.h", *WIDE, *AMX),
    "amx_emulated": _tile_loop(PAIRS, "amx_emulated", "AmxTile", "amx_tile.h", *WIDE),
    "avx2_int8": _tile_loop(
        QUADS, "avx2_int8", "MaddubsTile", "maddubs_tile.h", "-DLANES=8", *AVX2
    ),
    "avx512_vnni": _tile_loop(
        QUADS, "avx512_vnni", "VnniTile", "vnni_tile.h", *WIDE, "-mavx512vnni"
    ),
    "amx_int8": _tile_loop(QUADS, "amx_int8", "AmxInt8Tile", "amx_tile.h", *WIDE, *AMX),
    "amx_int8_emulated": _tile_loop(QUADS, "amx_int8_emulated", "AmxInt8Tile", "amx_tile.h", *WIDE),
}


class BuildError(RuntimeError):
    """The C++ backend cannot be built here; the text says why."""


def cache_folder() -> Path:
    """FFKERNELS_CACHE, else the user's cache folder for ffkernels."""
    named = os.environ.get("FFKERNELS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "ffkernels"


def compiler() -> str:
    """Path of the C++ compiler: CXX, else g++, else clang++. Raises BuildError if there is none."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    path = next((path for path in map(shutil.which, names) if path), None)
    if path is None:
        raise BuildError(f"no C++ compiler found (looked for {', '.join(names)}; set CXX)")
    return path


def loaded_openmp() -> str | None:
    """File of the OpenMP runtime that torch has loaded, None if unknown.

    Linking against it lets torch and the kernels share one thread pool.
    """
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
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
    """Path of the shared library of `units`.

    It is built if the cache has none for these sources, flags and compiler. Many processes may ask
    at once: one builds, the others wait. Raises BuildError.
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
    """Compile every unit, link them in the folder of `target` and move the result there at once."""
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
