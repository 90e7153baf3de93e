"""The realised density on a server's /metrics.

vLLM's workers, which count, are other processes than its API server, which answers /metrics from
its own registry. So the first rank's worker writes two numbers into a small file after each pass
that had prompt tokens, and a collector in the API server reads them when /metrics is asked for.
"""

import logging
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COUNTS = "FFBENCH_VLLM_COUNTS"  # environment variable that tells the workers the file
SEVERAL_SERVERS = "PROMETHEUS_MULTIPROC_DIR"  # vLLM sets it for several API servers
FORMAT = struct.Struct("<qd")
logger = logging.getLogger("vllm.ffbench")
_folder: tempfile.TemporaryDirectory[str] | None = None  # removed when this process ends


class CountsFile:
    """Prompt tokens so far and the density of the FFN over them, in a file of 16 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._written: int | None = None

    def write(self, prompt_tokens: int, density: float) -> None:
        """Replace both numbers, if there are more tokens than last time."""
        if prompt_tokens != self._written:
            os.pwrite(self._descriptor, FORMAT.pack(prompt_tokens, density), 0)
            self._written = prompt_tokens

    def read(self) -> tuple[int, float]:
        """Prompt tokens and density; none and 1 before the first prompt."""
        data = os.pread(self._descriptor, FORMAT.size, 0)
        return FORMAT.unpack(data) if len(data) == FORMAT.size else (0, 1.0)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class DensityCollector:
    """What Prometheus is told: a density since the start, and two counters for any period."""

    def __init__(self, counts: CountsFile) -> None:
        self.counts = counts

    def collect(self) -> Iterator[Any]:
        """The metrics of this moment."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        tokens, density = self.counts.read()
        yield CounterMetricFamily(
            "ffbench_prompt_tokens", "Prompt tokens in servers with a plan.", value=tokens
        )
        yield CounterMetricFamily(
            "ffbench_ffn_prompt_tokens",
            "Prompt tokens, each times the share of the FFN's neurons computed for it.",
            value=tokens * density,
        )
        if tokens:
            yield GaugeMetricFamily(
                "ffbench_ffn_density",
                "Share of the FFN's neurons computed for prompt tokens so far (1 is dense).",
                value=density,
            )


def publish() -> None:
    """Put the density on this process's /metrics, and let the workers that it starts write it.

    A metric that cannot be had is no reason to refuse a server: the log has the density too.
    """
    global _folder
    if SEVERAL_SERVERS in os.environ:
        logger.warning(
            "ffbench: with several API servers, or %s set, the density is in the log only, not "
            "on /metrics",
            SEVERAL_SERVERS,
        )
        return
    try:
        if _folder is None:
            folder = tempfile.TemporaryDirectory(prefix="ffbench-vllm-")
            path = Path(folder.name) / "counts"
            registry().register(DensityCollector(CountsFile(path)))
            _folder, os.environ[COUNTS] = folder, str(path)
        else:
            # another engine of this process, or its configuration made again: it counts anew
            Path(os.environ[COUNTS]).write_bytes(b"")
    except (ImportError, OSError) as error:
        logger.warning("ffbench: no density on /metrics (%s); it is in the log", error)


def registry() -> Any:
    """The registry that vLLM's /metrics reads if there is one API server."""
    from prometheus_client import REGISTRY

    return REGISTRY


def counts_of_server(rank: int) -> CountsFile | None:
    """The file that a worker of this rank writes to; None for all but the first and without one."""
    path = os.environ.get(COUNTS)
    if rank or not path or not Path(path).exists():
        return None
    try:
        return CountsFile(Path(path))
    except OSError as error:
        logger.warning("ffbench: no density on /metrics (%s); it is in the log", error)
        return None
