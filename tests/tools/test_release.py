"""Version, changelog and citation agree, so that a commit can be tagged."""

import re
import tomllib
from pathlib import Path

import yaml

import ffbench

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == ffbench.__version__ == citation["version"]
    assert PROJECT["license"] == citation["license"]


def test_the_changelog_begins_with_what_is_unreleased_or_with_this_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings and headings[0].split(",")[0] in {"Unreleased", PROJECT["version"]}


def test_the_pythons_that_are_claimed_are_those_that_pip_accepts() -> None:
    from packaging.specifiers import SpecifierSet

    prefix = "Programming Language :: Python :: 3."
    claimed = {name.removeprefix(prefix) for name in PROJECT["classifiers"] if prefix in name}
    accepted = SpecifierSet(PROJECT["requires-python"])
    assert claimed == {str(minor) for minor in range(30) if f"3.{minor}.1" in accepted}


def test_all_holds_every_other_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    named = re.fullmatch(r"ffbench\[(.+)\]", extras["all"][0])
    assert named and set(named[1].split(",")) == set(extras) - {"all"}
