"""Imports go one way: kernels <- sparsity <- models <- stages <- cli; runs, tasks and analysis stand alone."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "ffbench.sparsity": {"ffbench.sparsity"},
    "ffbench.models": {"ffbench.sparsity", "ffbench.models", "ffkernels"},
    "ffbench.runs": {"ffbench.runs"},
    "ffbench.tasks": {"ffbench.tasks"},
    "ffbench.stages": {"ffbench.sparsity", "ffbench.models", "ffbench.runs", "ffbench.tasks", "ffbench.stages",
                       "ffbench.settings", "ffkernels"},
    "ffbench.harness": {"ffbench.sparsity", "ffbench.models", "ffbench.runs", "ffbench.tasks", "ffbench.stages",
                        "ffbench.harness"},
    "ffkernels": {"ffkernels"},
    "analysis": {"analysis"},
}
FORBIDDEN = {
    "ffbench.sparsity": {"transformers", "hydra", "omegaconf", "wandb"},
    "ffbench.models": {"hydra", "omegaconf", "wandb"},
    "ffbench.stages": {"hydra", "omegaconf", "wandb"},
    "ffbench.harness": {"hydra", "omegaconf", "wandb"},
    "ffbench.runs": {"torch", "transformers", "hydra", "omegaconf"},
    "ffbench.tasks": {"torch", "transformers", "hydra", "omegaconf", "wandb"},
    "ffkernels": {"transformers", "hydra", "omegaconf", "wandb"},
    "analysis": {"torch", "hydra", "wandb", "transformers"},
}
READS_WANDB = "analysis/wandb_source.py"  # imports wandb inside one function, where a key is set
WHERE = {"ffkernels": ROOT / "kernels" / "ffkernels", "analysis": ROOT / "analysis"}
OURS = ("ffbench", "ffkernels", "analysis")


def imported(path: Path) -> set[str]:
    """Absolute names that a file imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(package: str) -> list[Path]:
    folder = WHERE.get(package, ROOT / Path(*package.split(".")))
    return sorted(path for path in folder.rglob("*.py") if "notebooks" not in path.parts)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_reader_sees_imports_inside_functions(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from ffbench.cli import main\n    import torch.nn as nn\n")
    assert imported(path) == {"ffbench.cli.main", "torch.nn"}


def test_imports_go_one_way() -> None:
    wrong = [f"{path.relative_to(ROOT)}: {name}" for package, allowed in ALLOWED.items() for path in files_of(package)
             for name in imported(path)
             if name.split(".")[0] in OURS and not within(name, allowed) or within(name, FORBIDDEN[package])
             and not (name == "wandb" and str(path.relative_to(ROOT)) == READS_WANDB)]
    assert not wrong


def test_every_package_has_files() -> None:
    assert all(files_of(package) for package in ALLOWED)


def test_nothing_is_imported_from_shared_or_unpickled() -> None:
    for package in (*ALLOWED, "ffbench"):
        for path in files_of(package):
            assert not within("pickle", imported(path)) and "torch.load(" not in path.read_text(), path
