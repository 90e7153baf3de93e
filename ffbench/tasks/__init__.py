"""Prompts, records and scorers; imports nothing else of ffbench."""
