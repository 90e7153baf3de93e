"""The report as one self-contained HTML page: no network, no other file."""

from analysis.page.build import build

__all__ = ["build"]
