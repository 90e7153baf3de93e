"""Search over settings by Optuna: it proposes trials, and is told what their run folders hold."""
