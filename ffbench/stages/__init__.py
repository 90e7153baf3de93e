"""Stages of a run: collect, fit, schedule, evaluate, speed, report."""
