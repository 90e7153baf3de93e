"""Bad plan folders: exit code 2, the folder's name, no traceback, no model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refused
from safetensors.torch import load_file, save_file

from ffbench.cli.main import main


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound plan of the tiny model."""
    folder = tmp_path_factory.mktemp("plans")
    assert (
        main(
            [
                "plan",
                "save",
                str(folder / "plan"),
                "model=tiny_llama",
                "block_size=32",
                "calibration.tokens=1024",
                "calibration.window=512",
                "compensator.rank=8",
                f"output_dir={folder / 'out'}",
            ]
        )
        == 0
    )
    return folder / "plan"


def header_of(folder: Path) -> Path:
    return next(folder.glob("*.json"))


def tensors_of(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the plan's JSON."""

    def edit(folder: Path) -> None:
        header = json.loads(header_of(folder).read_text())
        change(header)
        header_of(folder).write_text(json.dumps(header))

    return edit


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(tensors_of(folder))
    tensors.pop("0.order")
    save_file(tensors, tensors_of(folder))


PLANS: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no header": lambda folder: header_of(folder).unlink(),
    "no tensors": lambda folder: tensors_of(folder).unlink(),
    "header cut short": lambda folder: header_of(folder).write_text(
        header_of(folder).read_text()[:40]
    ),
    "header is a list": lambda folder: header_of(folder).write_text("[]"),
    "tensors cut short": lambda folder: tensors_of(folder).write_bytes(
        tensors_of(folder).read_bytes()[:100]
    ),
    "tensors empty": lambda folder: tensors_of(folder).write_bytes(b""),
    "a tensor is missing": without_a_tensor,
    "other version": edited(lambda header: header.update(format_version=99)),
    "settings missing": edited(lambda header: header.pop("settings")),
    "layers missing": edited(lambda header: header.pop("layers")),
    "a setting missing": edited(lambda header: header["settings"].pop("block_size")),
    "made for another model": edited(lambda header: header.update(fingerprint={"model": "0" * 16})),
}


def with_tensor(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change one tensor of the plan."""

    def edit(folder: Path) -> None:
        tensors = load_file(tensors_of(folder))
        tensors[name] = change(tensors[name])
        save_file(tensors, tensors_of(folder))

    return edit


def of_layer(**values: Any) -> Callable[[Path], None]:
    """Change fields of the first layer."""
    return edited(lambda header: header["layers"][0].update(values))


def of_settings(**values: Any) -> Callable[[Path], None]:
    """Change settings of the plan."""
    return edited(lambda header: header["settings"].update(values))


PLANS |= {
    "header nested": lambda folder: header_of(folder).write_text("[" * 100_000),
    "header in UTF-16": lambda folder: header_of(folder).write_bytes("{}".encode("utf-16-be")[1:]),
    "no layers": edited(lambda header: header.update(layers=[])),
    "layers are numbers": edited(lambda header: header.update(layers=[1, 2])),
    "settings are a list": edited(lambda header: header.update(settings=[])),
    "axes are a list": edited(lambda header: header.update(axes=[])),
    "fingerprint is a list": edited(lambda header: header.update(fingerprint=["a"])),
    "version is a list": edited(lambda header: header.update(format_version=[4])),
    "kept is infinite": of_layer(kept=float("inf")),
    "kept is NaN": of_layer(kept=float("nan")),
    "kept is text": of_layer(kept="many"),
    "kept is huge": of_layer(kept=10**20),
    "block of 0": of_settings(block_size=0),
    "block is text": of_settings(block_size="32"),
    "sparsity 7": of_settings(sparsity=7),
    "sparsity is NaN": of_settings(sparsity=float("nan")),
    "blocks unknown": of_settings(blocks="x"),
    "a later setting": of_settings(later=1),
    "selector is text": of_settings(selector="trained"),
    "rank is NaN": of_settings(compensator={"name": "surrogate", "rank": float("nan")}),
    "order of floats": with_tensor("0.order", lambda order: order.float()),
    "order with two axes": with_tensor("0.order", lambda order: order[None]),
    "order repeats": with_tensor("0.order", lambda order: order * 0),
    "weights of integers": with_tensor("0.predictor.weights", lambda weights: weights.int()),
    "values that are not numbers": with_tensor("0.predictor.prior", lambda prior: prior / 0 * 0),
}


@pytest.mark.parametrize("name", PLANS)
def test_bad_plans(
    name: str,
    plan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capsys.readouterr()
    folder = tmp_path / "broken_plan"
    shutil.copytree(plan, folder)
    PLANS[name](folder)
    refused(
        ["plan", "load", str(folder), "model=tiny_llama", f"output_dir={tmp_path}"],
        str(folder),
        capsys,
        monkeypatch,
    )
