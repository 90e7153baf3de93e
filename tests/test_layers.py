"""Imports go one way: kernels <- methods <- models <- training and evaluation <- experiment <- cli;
runs, data and tasks import none of these."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOUNDATION = {
    "ffkernels",
    "ffbench.methods",
    "ffbench.models",
    "ffbench.strict_json",
    "ffbench.suggestions",
}
TEXT = {"ffbench.data", "ffbench.strict_json", "ffbench.tasks"}
WORK = FOUNDATION | TEXT | {"ffbench.runs", "ffbench.training", "ffbench.evaluation"}
EXPERIMENT = WORK | {
    "ffbench.tracking",
    "ffbench.settings",
    "ffbench.experiment",
    "ffbench.plugins",
    "ffbench.suggestions",
}
ALLOWED = {
    "ffkernels": {"ffkernels"},
    "ffbench.methods": {
        "ffbench.methods",
        "ffbench.strict_json",
        "ffbench.suggestions",
        "ffbench.error_text",
        # one table of older names for plans, results and configurations; standard library only
        "ffbench.runs.legacy",
        "ffbench.runs.schema",
    },
    "ffbench.models": FOUNDATION,
    "ffbench.data": {"ffbench.data", "ffbench.strict_json"},
    "ffbench.tasks": TEXT | {"ffbench.suggestions"},
    "ffbench.runs": {"ffbench.runs", "ffbench.strict_json"},
    "ffbench.tracking": {"ffbench.tracking", "ffbench.runs", "ffbench.error_text"},
    "ffbench.training": FOUNDATION | {"ffbench.runs", "ffbench.training"},
    "ffbench.evaluation": FOUNDATION | TEXT | {"ffbench.runs", "ffbench.evaluation"},
    "ffbench.search": {
        "ffbench.search",
        "ffbench.tracking",
        "ffbench.runs",
        "ffbench.evaluation.bootstrap",
    },
    "ffbench.experiment": EXPERIMENT,
    "ffbench.settings": {"ffbench.methods", "ffbench.tracking", "ffbench.settings"},
    "ffbench.validation": EXPERIMENT | {"ffbench.validation"},
    "ffbench.strict_json": {"ffbench.strict_json"},
    "ffbench.suggestions": {"ffbench.suggestions"},
    "ffbench.error_text": {"ffbench.error_text"},
    "ffbench.plugins": {"ffbench.plugins", "ffbench.suggestions"},
    "ffbench.integrations": WORK | {"ffbench.experiment", "ffbench.integrations"},
    "ffbench.cli": EXPERIMENT
    | {
        "ffbench.error_text",
        "ffbench.validation",
        "ffbench.integrations",
        "ffbench.search",
        "ffbench.cli",
        "ffbench.__version__",
        "ffanalysis",
    },
    "ffbench.api": EXPERIMENT | {"ffbench.cli", "ffanalysis"},
    "ffanalysis": {"ffanalysis", "ffbench.runs", "ffbench.strict_json"},
}
HYDRA = {"hydra", "omegaconf"}
FORBIDDEN: dict[str, set[str]] = {
    "ffbench.strict_json": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.suggestions": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.error_text": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.plugins": {"torch", "transformers", "wandb", *HYDRA},
    "ffkernels": {"transformers", "wandb", *HYDRA},
    "ffbench.methods": {"transformers", "wandb", *HYDRA},
    "ffbench.models": {"wandb", *HYDRA},
    "ffbench.data": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.tasks": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.runs": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.tracking": {"torch", "transformers", *HYDRA},
    "ffbench.training": {"wandb", *HYDRA},
    "ffbench.search": {"torch", "transformers", "wandb", *HYDRA},
    "ffbench.evaluation": {"wandb", *HYDRA},
    "ffbench.experiment": {"wandb", *HYDRA},
    "ffbench.settings": {"wandb", *HYDRA},
    "ffbench.validation": {"wandb", *HYDRA},
    "ffbench.integrations": {"wandb", *HYDRA},
    "ffbench.cli": {"wandb"},
    "ffbench.api": {"wandb", *HYDRA},
    "ffanalysis": {"torch", "transformers", "wandb", *HYDRA},
}
READS_WANDB = (
    "analysis/ffanalysis/wandb_source.py"  # imports wandb inside one function, where a key is set
)
WHERE = {
    "ffkernels": ROOT / "kernels" / "ffkernels",
    "ffanalysis": ROOT / "analysis" / "ffanalysis",
}
OURS = ("ffbench", "ffkernels", "ffanalysis")


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
    if folder.with_suffix(".py").exists():
        return [folder.with_suffix(".py")]
    return sorted(path for path in folder.rglob("*.py") if "notebooks" not in path.parts)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_reader_sees_imports_inside_functions(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from ffbench.cli import main\n    import torch.nn as nn\n")
    assert imported(path) == {"ffbench.cli.main", "torch.nn"}


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for package, allowed in ALLOWED.items()
        for path in files_of(package)
        for name in imported(path)
        if name.split(".")[0] in OURS
        and not within(name, allowed)
        or within(name, FORBIDDEN[package])
        and not (name == "wandb" and str(path.relative_to(ROOT)) == READS_WANDB)
    ]
    assert not wrong


def test_every_package_has_files() -> None:
    assert all(files_of(package) for package in ALLOWED)


def test_nothing_is_imported_from_shared_or_unpickled() -> None:
    for package in (*ALLOWED, "ffbench"):
        for path in files_of(package):
            assert not within("pickle", imported(path)) and "torch.load(" not in path.read_text(), (
                path
            )
