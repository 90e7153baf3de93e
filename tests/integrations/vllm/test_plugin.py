"""The entry point: nothing without a plan, one line for whatever is wrong with one."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ffbench.integrations.vllm import plugin, start
from ffbench.integrations.vllm.plugin import names_plan, register

ROOT = Path(__file__).resolve().parents[3]


class Config:
    """Stands in for VllmConfig."""

    def __init__(self, additional: Any) -> None:
        self.additional_config, self.checks = additional, 0

    def try_verify_and_update_config(self) -> None:
        self.checks += 1


@pytest.fixture
def vllm_config(monkeypatch: pytest.MonkeyPatch) -> type[Config]:
    module, config = ModuleType("vllm.config"), type("VllmConfig", (Config,), {})
    module.VllmConfig = config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm.config", module)
    return config


def test_without_a_plan_only_vllms_own_check_runs(
    vllm_config: type[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(start, "start", started.append)
    register()
    register()  # vLLM may load plugins twice
    for additional in ({}, {"other": 1}):
        config = vllm_config(additional)
        config.try_verify_and_update_config()
        assert config.checks == 1 and not started
    config = vllm_config({"ffbench_plan": "folder"})
    config.try_verify_and_update_config()
    assert config.checks == 1 and started == [config]


def test_the_entry_point_imports_nothing_heavy() -> None:
    code = (
        "import sys; from types import ModuleType, SimpleNamespace as N\n"
        "m = ModuleType('vllm.config'); m.VllmConfig = type('V', (), {'try_verify_and_update_config'"
        ": lambda self: None, 'additional_config': {}}); sys.modules['vllm.config'] = m\n"
        "from ffbench.integrations.vllm.plugin import register; register()\n"
        "m.VllmConfig().try_verify_and_update_config()\n"
        "print(sorted({'torch', 'transformers', 'ffkernels', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_release_without_the_check_is_refused_only_with_a_plan(
    vllm_config: type[Config], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(plugin, "CHECK", "renamed_check")
    monkeypatch.setattr(sys, "argv", ["vllm", "serve", "m"])
    register()
    monkeypatch.setattr(sys, "argv", ["vllm", "--additional-config", '{"ffbench_plan": "p"}'])
    with pytest.raises(SystemExit, match="would not run"):
        register()


def test_the_pyproject_names_the_entry_point() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points."vllm.general_plugins"]' in text
    assert f'ffbench = "{plugin.__name__}:{register.__name__}"' in text


@pytest.mark.parametrize("given", [{"ffbench_plan": "p"}, {"ffbench_kernel": "torch"}])
def test_keys_of_ours_are_recognised(given: dict[str, str]) -> None:
    assert names_plan(given) and not names_plan({"plan": 1}) and not names_plan("ffbench_plan")


def test_refusals_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/vllm", "serve"])
    with pytest.raises(SystemExit) as end:
        start.refuse(["one\nthing", "another"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: ffbench_plan: one thing; another\n"
    monkeypatch.setattr(sys, "argv", ["my_script.py"])
    with pytest.raises(start.ServerRefused, match="^ffbench_plan: one thing; another$"):
        start.refuse(["one\nthing", "another"])


def test_a_missing_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["my_script.py"])
    config = SimpleNamespace(
        additional_config={"ffbench_plan": str(tmp_path / "none")},
        parallel_config=SimpleNamespace(worker_cls="auto"),
    )
    with pytest.raises(start.ServerRefused, match="cannot be read"):
        start.start(config)


@pytest.mark.parametrize(
    ("kernel", "text"), [("fast", "'fast' is unknown"), ("triton", "'triton' is not available")]
)
def test_a_kernel_that_cannot_run_is_refused(
    kernel: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    import ffkernels

    states = {"torch": "available", "triton": "no card"}
    monkeypatch.setattr(ffkernels, "available_backends", lambda: states, raising=False)
    problems = start.kernel_problems(kernel, "cpu", torch.float32)
    assert len(problems) == 1 and text in problems[0]
    assert problems[0].endswith("choose one of torch")
    assert start.kernel_problems("torch", "cpu", torch.float32) == []


def served(folder: Path, name: str | None = None) -> tuple[start.Options, Any]:
    import torch

    model = SimpleNamespace(model=str(folder), revision=None, dtype=torch.float32)
    return start.Options("plan", "auto", name), SimpleNamespace(model_config=model)


def test_a_plan_for_another_model_is_refused(tmp_path: Path) -> None:
    from ffbench.integrations.fingerprints import fingerprint

    for name, text in (("model.safetensors", "weights"), ("config.json", "{}")):
        (tmp_path / name).write_text(text * 400)
    own = fingerprint(
        name="mine", dtype="float32", pretrained=str(tmp_path), gguf_file=None, revision=None
    )
    plan: Any = SimpleNamespace(fingerprint=own, card={"model": "mine"})
    assert start.fingerprint_problems(served(tmp_path)[0], plan, served(tmp_path)[1]) == []
    (tmp_path / "model.safetensors").write_text("other" * 400)
    options, config = served(tmp_path)
    assert "was made for" in start.fingerprint_problems(options, plan, config)[0]
    options, config = served(tmp_path)
    nameless: Any = SimpleNamespace(fingerprint=own, card={})
    assert "ffbench_model_name" in start.fingerprint_problems(options, nameless, config)[0]
    options, config = served(tmp_path / "none")
    assert "was made for" in start.fingerprint_problems(options, plan, config)[0]


@pytest.mark.parametrize(
    ("block", "chosen", "caching", "expected"),
    [(128, False, True, 128), (48, False, True, 96), (48, True, True, 16), (48, False, False, 16)],
)
def test_cached_blocks_hold_whole_blocks_of_the_plan(
    block: int, chosen: bool, caching: bool, expected: int
) -> None:
    cache = SimpleNamespace(
        enable_prefix_caching=caching, user_specified_block_size=chosen, block_size=16
    )
    start.align_kv_blocks(cache, block)
    assert cache.block_size == expected
