"""Draw docs/architecture.svg from the imports that the code really has.

A box is a package, an arrow goes from the package that imports to the one that is imported. Arrows
that follow from others are left out: if A imports B and B imports C, none is drawn from A to C.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

PLACES = {"ffkernels": Path("kernels/ffkernels"), "ffanalysis": Path("analysis/ffanalysis")}
FILES = ("settings", "validation")
WIDTH, HEIGHT, ACROSS, DOWN = 2.3, 0.62, 2.65, 1.15


def packages(root: Path) -> dict[str, list[Path]]:
    """Name of each package -> its files."""
    folders = {
        f"ffbench.{path.name}": path
        for path in sorted((root / "ffbench").iterdir())
        if (path / "__init__.py").exists()
    }
    folders |= {name: root / place for name, place in PLACES.items()}
    files = {name: sorted(path.rglob("*.py")) for name, path in folders.items()}
    files = {
        name: [path for path in paths if "notebooks" not in path.parts]
        for name, paths in files.items()
    }
    return files | {
        f"ffbench.{name}": [root / "ffbench" / f"{name}.py"]
        for name in FILES
        if (root / "ffbench" / f"{name}.py").exists()
    }


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def edges(root: Path) -> dict[str, set[str]]:
    """Package -> the packages that it imports."""
    known = packages(root)
    return {
        name: {
            other
            for path in files
            for module in imported(path)
            for other in known
            if other != name and (module == other or module.startswith(f"{other}."))
        }
        for name, files in known.items()
    }


def reachable(name: str, uses: dict[str, set[str]], seen: frozenset[str] = frozenset()) -> set[str]:
    """Every package that `name` uses, directly or not."""
    out: set[str] = set()
    for other in uses[name] - seen:
        out |= {other} | reachable(other, uses, seen | {name, other})
    return out


def reduced(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports that do not follow from others."""
    return {
        name: {
            other
            for other in others
            if not any(other in reachable(step, uses) for step in others - {other})
        }
        for name, others in uses.items()
    }


def levels(uses: dict[str, set[str]]) -> dict[str, int]:
    """Package -> its row from below: one above the highest package that it uses."""
    height: dict[str, int] = {}

    def of(name: str, path: tuple[str, ...] = ()) -> int:
        if name not in height:
            below = [of(other, (*path, name)) for other in uses[name] if other not in path]
            height[name] = 1 + max(below, default=-1)
        return height[name]

    for name in uses:
        of(name)
    return height


def centre_below(used: Sequence[str], centres: Mapping[str, tuple[float, float]]) -> float:
    """Where a package would stand above those that it uses. Equal places are equal numbers,
    whatever the rounding of their sums: the names decide between them.
    """
    total = sum(centres[other][0] for other in used if other in centres)
    return round(total / max(1, len(used)), 6)


def places(uses: dict[str, set[str]]) -> dict[str, tuple[float, float]]:
    """Package -> centre of its box; rows are ordered by where the packages that they use are."""
    height = levels(uses)
    centres: dict[str, tuple[float, float]] = {}
    for row in range(max(height.values()) + 1):
        names = sorted(name for name in uses if height[name] == row)
        names.sort(key=lambda name: centre_below(sorted(uses[name]), centres))
        for number, name in enumerate(names):
            centres[name] = ((number - (len(names) - 1) / 2) * ACROSS, row * DOWN)
    return centres


def draw(root: Path, path: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    uses = edges(root)
    centres, shown = places(uses), reduced(uses)
    xs, ys = zip(*centres.values(), strict=True)
    # whatever style another picture has left
    with plt.style.context("default"), mpl.rc_context({"svg.hashsalt": "architecture"}):
        figure, axes = plt.subplots(figsize=(max(xs) - min(xs) + 4, max(ys) + 2))
        axes.set_xlim(min(xs) - WIDTH, max(xs) + WIDTH)
        axes.set_ylim(-1.0, max(ys) + 0.8)
        axes.axis("off")
        for name, (x, y) in centres.items():
            box = FancyBboxPatch(
                (x - WIDTH / 2, y - HEIGHT / 2),
                WIDTH,
                HEIGHT,
                boxstyle="round,pad=0.02,rounding_size=0.08",
                facecolor="#eef3f8",
                edgecolor="#30506e",
                zorder=2,
            )
            axes.add_patch(box)
            axes.text(x, y, name, ha="center", va="center", fontsize=10, weight="bold", zorder=3)
            for other in sorted(shown[name]):
                start, end = (
                    (x, y - HEIGHT / 2),
                    (centres[other][0], centres[other][1] + HEIGHT / 2),
                )
                arrow = FancyArrowPatch(
                    start,
                    end,
                    arrowstyle="-|>",
                    mutation_scale=12,
                    color="#8a3b12",
                    linewidth=1.2,
                    zorder=1,
                )
                axes.add_patch(arrow)
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
