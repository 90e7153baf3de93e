"""The picture's arrows are the imports that the code has."""

from pathlib import Path

from tools.docs import architecture

ROOT = Path(__file__).parents[2]


def test_edges_are_the_imports(tmp_path: Path) -> None:
    files = {
        "ffbench/a/__init__.py": "",
        "ffbench/a/x.py": "def f():\n    from ffbench.b import y\n    import ffkernels.op\n",
        "ffbench/b/__init__.py": "import ffbench.c.z\n",
        "ffbench/c/z.py": "",
        "ffbench/c/__init__.py": "",
        "ffbench/settings.py": "import torch\n",
        "kernels/ffkernels/op.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    uses = architecture.edges(tmp_path)
    assert uses["ffbench.a"] == {"ffbench.b", "ffkernels"}
    assert uses["ffbench.b"] == {"ffbench.c"} and uses["ffbench.settings"] == set()
    assert architecture.levels(uses)["ffbench.a"] == 2


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    uses = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert architecture.reduced(uses) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert architecture.reachable("a", uses) == {"b", "c"}


def test_every_package_of_the_repository_is_in_the_picture() -> None:
    names = architecture.packages(ROOT)
    assert {"ffbench.runs", "ffbench.cli", "ffanalysis", "ffkernels"} <= names.keys()
    assert all(names.values())
