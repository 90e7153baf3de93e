"""Trackers: mirrors of run files."""
