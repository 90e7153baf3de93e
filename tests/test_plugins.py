"""A user's own modules: registered methods, hashes, and refusals."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ffbench import plugins
from ffbench.plugins import Plugin, PluginError, load_plugins

REGISTRY: list[str] = []
GOOD = "import test_plugins\ntest_plugins.REGISTRY.append('selector/{0}')\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, no plugins loaded, this module importable by its name."""
    REGISTRY.clear()
    monkeypatch.setitem(sys.modules, "test_plugins", sys.modules[__name__])
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_module_of_the_current_folder_registers_once(folder: Path) -> None:
    (folder / "plug_one.py").write_text(GOOD.format("mine"))
    (plugin,) = load_plugins(["plug_one"], lambda: REGISTRY)
    assert plugin.methods == ("selector/mine",) and plugin.module == "plug_one"
    assert load_plugins(["plug_one"], lambda: REGISTRY) == [plugin]
    assert REGISTRY == ["selector/mine"]


def test_a_packages_hash_changes_with_any_of_its_files(folder: Path) -> None:
    (folder / "plug_two").mkdir()
    (folder / "plug_two" / "__init__.py").write_text(GOOD.format("two"))
    (folder / "plug_two" / "other.py").write_text("X = 1\n")
    (plugin,) = load_plugins(["plug_two"], lambda: REGISTRY)
    before = plugins.source_hash(sys.modules["plug_two"])
    assert plugin.source == before and before is not None and len(before) == 64
    (folder / "plug_two" / "other.py").write_text("X = 2\n")
    assert plugins.source_hash(sys.modules["plug_two"]) != before
    assert plugins.source_hash(sys) is None


def test_installed_packages_come_by_their_entry_points(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "plug_three.py").write_text(GOOD.format("three"))
    point = EntryPoint("mine", "plug_three:setup", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    assert load_plugins([], lambda: REGISTRY)[0] == Plugin(
        "plug_three", plugins.source_hash(sys.modules["plug_three"]), ("selector/three",)
    )


@pytest.mark.parametrize(
    ("name", "source", "text"),
    [
        ("plug_none", None, "plugins: plug_none: no such module"),
        ("plug_silent", "X = 1\n", "registers nothing"),
        ("plug_broken", "def f(:\n", "cannot be imported (SyntaxError"),
        ("plug_raises", "raise KeyError('x')\n", "cannot be imported (KeyError"),
        ("plug_import", "import not_there_at_all\n", "No module named 'not_there_at_all'"),
        ("plug_exit.py", None, "give a module (my_package.my_selector), not a file"),
        ("plug-in", None, "is not a module's name; use letters"),
        ("", None, "is not a module's name"),
        ("plug_silentt.x", None, "start from the folder that holds plug_silentt.py"),
    ],
)
def test_refusals(name: str, source: str | None, text: str, folder: Path) -> None:
    if source is not None:
        (folder / f"{name}.py").write_text(source)
    with pytest.raises(PluginError) as refused:
        load_plugins([name], lambda: REGISTRY)
    assert text in str(refused.value) and "\n" not in str(refused.value)


def test_the_nearest_module_is_suggested(folder: Path) -> None:
    (folder / "my_selector.py").write_text("")
    with pytest.raises(PluginError, match="did you mean 'my_selector'"):
        load_plugins(["my_selectr"], lambda: REGISTRY)
