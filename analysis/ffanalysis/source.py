"""Where frames come from: an output folder, and lines of benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ffanalysis import benches, load

READERS: dict[str, Callable[..., pd.DataFrame]] = {
    "runs": load.runs,
    "tasks": load.tasks,
    "groups": load.groups,
    "layers": load.layers,
    "timings": load.timings,
    "fidelity": load.fidelity,
    "windows": load.windows,
    "kernels": benches.kernels,
    "speeds": benches.speeds,
    "servings": benches.servings,
    "overlaps": benches.overlaps,
    "selections": benches.selections,
}
OF_BENCHES = ("kernels", "speeds", "servings", "overlaps", "selections")


@dataclass
class Source:
    """The runs of `output_dir` (all, or `run_keys`) and the benchmark lines of `bench_dir`.

    `bench_dir` is the output folder unless another is given. `published` is a folder of committed
    lines to show as well; their rows say so in the column `origin`. Each frame is read once.
    """

    output_dir: Path
    bench_dir: Path | None = None
    run_keys: Sequence[str] | None = None
    published: Path | None = None
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def frame(self, name: str) -> pd.DataFrame:
        """One frame of docs/frames.md. Raises LoadError."""
        if name not in self._frames:
            read = READERS[name]
            self._frames[name] = (
                self.bench_lines(read)
                if name in OF_BENCHES
                else read(self.output_dir, self.run_keys)
            )
        return self._frames[name]

    def bench_lines(self, read: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        """The user's lines, then the published ones if they were asked for."""
        folder = self.bench_dir or self.output_dir
        frame = read(folder)
        if self.published is None or self.published.resolve() == Path(folder).resolve():
            return frame
        published = read(self.published).assign(origin=benches.PUBLISHED)
        parts = [part for part in (frame, published) if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else frame

    def runs(self) -> pd.DataFrame:
        """The frame of runs. Raises LoadError with a command that starts some if it is empty."""
        frame = self.frame("runs")
        if frame.empty:
            raise load.LoadError(load.NO_RUNS.format(self.output_dir))
        return frame
