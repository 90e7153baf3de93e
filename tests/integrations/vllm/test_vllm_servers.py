"""Servers of vLLM with a plan: which do not start, how the command ends, what a server tells."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from vllm_cases import (
    BLOCK,
    LENGTHS,
    NEEDS_VLLM,
    environment,
    prompts,
    run,
    saved_model,
    saved_plan,
)

from ffbench.integrations.vllm.servers import free_port, server, server_words

pytestmark = NEEDS_VLLM


def test_servers_that_cannot_run_the_plan_do_not_start(folder: Path, llama: Path) -> None:
    plan = str(saved_plan(folder, llama, 0.5))
    other = saved_model(folder, "llama", num_hidden_layers=3)
    trained = saved_model(folder, "qwen2")
    uncovered = saved_model(folder, "gemma")
    given = {"model": str(llama), "additional_config": {"ffbench_plan": plan}}
    cases = {
        "the plan has 2 layers, the model 3": given | {"model": str(other)},
        "was made for": given | {"model": str(trained)},
        "GemmaForCausalLM is not covered": given | {"model": str(uncovered)},
        "with --dtype as its model.dtype": given | {"dtype": "bfloat16"},
        "load_format 'dummy' is not covered": given | {"load_format": "dummy"},
        "block_size 16: prefix caching": given | {"block_size": 16},
        "quantised (fp8)": given | {"quantization": "fp8"},
        "kernel 'triton' is not available here": given
        | {"additional_config": {"ffbench_plan": plan, "ffbench_kernel": "triton"}},
        "ffbench_paln": given | {"additional_config": {"ffbench_paln": plan}},
    }
    texts, _ = run("refusals", cases=list(cases.values()))
    for expected, text in zip(cases, texts, strict=True):
        assert text.startswith("ServerRefused: ffbench_plan: ") and "\n" not in text, text
        assert expected in text


def test_the_command_ends_with_one_line(llama: Path) -> None:
    # the wheel's own command `vllm` does not know its version and ends (0.32.0)
    command = [sys.executable, "-m", "ffbench.integrations.vllm.command", "serve", str(llama)]
    done = subprocess.run(
        [*command, "--additional-config", '{"ffbench_plan": "nowhere"}', "--dtype", "float32"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment() | {"HF_HUB_OFFLINE": "1"},
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert last.startswith("error: ffbench_plan: plan nowhere: cannot be read")
    assert "Traceback" not in done.stderr


def asked(url: str, body: dict[str, Any] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return str(answer.read().decode())


def test_a_server_tells_its_density(
    folder: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = environment() | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    for name, value in (given | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}).items():
        monkeypatch.setenv(name, value)
    options = ["--dtype", "float32", "--max-model-len", "2048", "--enforce-eager", "--tokens-only"]
    port, log = free_port(), folder / "server.log"
    words = server_words(str(llama), port, saved_plan(folder, llama, 0.5), options)
    address = f"http://127.0.0.1:{port}"
    with server(words, port, log, 300):
        before = asked(f"{address}/metrics")
        # one token ends a request after its prompt: no later pass may be needed for the counts
        sampling = {"temperature": 0, "max_tokens": 1, "ignore_eos": True, "detokenize": False}
        body = {"token_ids": prompts()[0], "sampling_params": sampling}
        asked(f"{address}/inference/v1/generate", body)
        after = asked(f"{address}/metrics")
    assert re.search(r"^ffbench_prompt_tokens_total 0\.0$", before, re.MULTILINE), before
    assert "vllm:prompt_tokens_total" in after  # vLLM's own are there as well
    values = dict(re.findall(r"^(ffbench_\w+) (\S+)$", after, re.MULTILINE))
    sparse_tokens = LENGTHS[0] - BLOCK - 40
    assert float(values["ffbench_prompt_tokens_total"]) == LENGTHS[0]
    assert float(values["ffbench_ffn_density"]) == pytest.approx(
        1 - sparse_tokens / 2 / LENGTHS[0], abs=1e-6
    )
    assert float(values["ffbench_ffn_prompt_tokens_total"]) == pytest.approx(
        LENGTHS[0] - sparse_tokens / 2, abs=1e-3
    )
