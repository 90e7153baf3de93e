"""Provenance holds what a reader needs and nothing that names a person or a machine."""

import getpass
import json
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ffbench.runs import provenance


def test_collect() -> None:
    found = provenance.collect(["ffbench", "sparsity=0.5"])
    assert (
        found["command"] == ["ffbench", "sparsity=0.5"]
        and found["python"] == platform.python_version()
    )
    assert found["cores"] >= 1 and found["memory_bytes"] > 2**28
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["started"])
    assert found["git_sha"] is None or re.fullmatch("[0-9a-f]{40}", found["git_sha"])
    assert found["versions"]["numpy"] and json.dumps(found)


def test_no_names_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    words = [
        "/home/somebody/bin/ffbench",
        "tracker.api_key=abc",
        "hf_token=xyz",
        "WANDB_API_KEY=k",
        "x=1",
        "calibration.tokens=2048",
        "input_tokens=1024,2048",
        "my.tokens=a1",
    ]
    found = provenance.collect(words)
    assert found["command"] == [
        "~/bin/ffbench",
        "tracker.api_key=***",
        "hf_token=***",
        "WANDB_API_KEY=***",
        "x=1",
        "calibration.tokens=2048",
        "input_tokens=1024,2048",
        "my.tokens=***",
    ]
    text = json.dumps(found)
    assert socket.gethostname() not in text and str(Path.cwd()) not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_dirty_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    state = provenance.git_state.__wrapped__
    assert state() == (None, None)
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "x")
    sha, diff = state()
    assert re.fullmatch("[0-9a-f]{40}", sha) and diff is None
    (tmp_path / "a").write_text("2")
    first = state()[1]
    (tmp_path / "a").write_text("3")
    assert first and state() == (sha, state()[1]) and state()[1] != first


def test_it_imports_no_torch() -> None:
    code = (
        "import sys; from ffbench.runs import provenance, store, cache, status; from ffbench.tracking import sync, base, sweep_file; "
        "found = provenance.collect([]); "
        "print([name for name in ('torch', 'wandb', 'hydra', 'omegaconf') if name in sys.modules], found['gpu'])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        == "[] None\n"
    )


@pytest.mark.parametrize(
    ("home", "word", "expected"),
    [
        ("/home/me", "output_dir=/home/me/out", "output_dir=~/out"),
        ("/home/me", "/home/me", "~"),
        ("/home/me", "output_dir='/home/me/my runs'", "output_dir='~/my runs'"),
        ("/home/me", "output_dir=/home/meg/out", "output_dir=/home/meg/out"),
        ("/home/me", "output_dir=/data/home/me/out", "output_dir=/data/home/me/out"),
        ("/", "output_dir=/tmp/out", "output_dir=/tmp/out"),
        ("", "output_dir=/tmp/out", "output_dir=/tmp/out"),
        ("/home/me", "a=[/home/me/x,/home/me/y]", "a=[~/x,~/y]"),
    ],
)
def test_the_home_folder_is_masked_at_the_start_of_paths_only(
    home: str, word: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    assert provenance.masked(word) == expected


def test_there_need_be_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    from ffbench.runs.home import home_folder
    from ffbench.tracking import base

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    for name in ("NETRC", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert home_folder() is None and provenance.masked("a=/x/y") == "a=/x/y"
    assert not base.has_key()


def test_a_card_is_named_only_if_the_model_is_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    assert provenance.collect([])["gpu"] is None
    found = provenance.collect([], "cuda:1")
    assert (found["device"], found["gpu"]) == ("cuda:1", "Card 1")
