"""Command line; the only part that knows Hydra."""
