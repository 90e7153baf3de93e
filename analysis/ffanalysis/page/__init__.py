"""The report as one self-contained HTML page: no network, no other file."""

from ffanalysis.page.build import build

__all__ = ["build"]
