"""RULER (arXiv 2404.06654): long prompts that are generated, with known answers."""
