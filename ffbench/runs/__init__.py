"""Run identity, folders, stage cache, provenance and tracking. Imports nothing else of ffbench."""
