"""FFBench inside other programs, one package per host."""
