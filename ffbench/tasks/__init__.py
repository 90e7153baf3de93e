"""Prompts, records and scorers; of ffbench they import `data` and the texts of messages alone."""
