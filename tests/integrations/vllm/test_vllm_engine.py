"""The plugin in vLLM itself, against vLLM without it and against the Hugging Face path.

`make test-vllm` runs these in an environment of their own. Each engine is a process of its own and
takes about a minute on two cores.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from ffbench.integrations.fingerprints import fingerprint
from ffbench.integrations.vllm.servers import free_port, server, server_words
from ffbench.methods.plan_files import plan_settings
from ffbench.models.random_models import random_plan


def has_vllm() -> bool:
    spec = find_spec("vllm")  # the folder of these tests has the same name, but no source
    return spec is not None and spec.origin is not None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_vllm(), reason="vLLM is not installed; make test-vllm installs it"),
]

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tests" / "support" / "vllm_engine.py"
BLOCK, NEW_TOKENS = 32, 6
# Whole blocks, so that chunks of 1024 rows end with blocks also where a batch has several prompts
LENGTHS = (1504, 64, 608)
# Of a log-probability: float32 through two layers with sums of up to 1504 products in another
# order. 1504 roundings of 2**-24 are 9e-5 of a logit's terms, which are below 20 here.
TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("vllm")  # type: ignore[no-any-return]


def saved_model(folder: Path, family: str, **changed: Any) -> Path:
    """A tiny model whose heads are of a size that vLLM's CPU attention knows."""
    import transformers

    path = folder / (family + "".join(f"-{name}" for name in changed))
    if path.exists():
        return path
    sizes = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    if family == "qwen2":
        del heads["head_dim"]
    config = getattr(transformers, f"{family.capitalize()}Config")(
        vocab_size=1000,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        **sizes | heads | changed,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{family.capitalize()}ForCausalLM")(config)
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.data.mul_(3)  # so that greedy tokens do not hang on roundings
    model.eval().save_pretrained(path)
    return path


def saved_plan(folder: Path, model: Path, sparsity: float, name: str = "plan") -> Path:
    from transformers import AutoModelForCausalLM

    path = folder / f"{model.name}-{name}-{sparsity}"
    if path.exists():
        return path
    node = {
        "selector": {"name": "trained"},
        "compensator": {"name": "surrogate", "rank": 8, "output_map_rank": 4},
        "scheduler": {"name": "uniform"},
    }
    sizes = {"block_size": BLOCK, "first_dense": BLOCK, "last_dense": 40, "hot_fraction": 0.25}
    if not sparsity:
        node["compensator"] = {"name": "none"}
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    plan = random_plan(loaded, plan_settings(node | sizes | {"sparsity": sparsity}))
    plan.fingerprint = fingerprint(
        name="tiny", dtype="float32", pretrained=str(model), gguf_file=None, revision=None
    )
    plan.card = {"model": "tiny"}
    plan.save(path)
    return path


def prompts(lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, 1000, (n,), generator=generator).tolist() for n in lengths]


def environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(filter(None, paths))}


def run(what: str, **case: Any) -> tuple[Any, str]:
    """The result of one process, and all that it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps({"what": what} | case)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(),
    )
    text = done.stdout + done.stderr
    results = re.findall(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    assert results, text[-5000:]
    return json.loads(results[-1]), text


def engine(
    model: Path, batches: Any, plan: Path | None = None, **options: Any
) -> tuple[list[Any], str]:
    given = {"additional_config": {"ffbench_plan": str(plan)}} if plan else {}
    return run("engine", model=str(model), batches=batches, options=given | options)


def hugging_face(model: Path, plan: Path, batches: Any, ranks: int = 1) -> list[Any]:
    found: list[Any] = run(
        "hugging_face", model=str(model), plan=str(plan), batches=batches, ranks=ranks
    )[0]
    return found


def tokens(answers: list[Any]) -> list[list[int]]:
    return [[token for token, _ in answer] for answer in answers]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert tokens(found) == tokens(expected)
    for one, other in zip(found, expected, strict=True):
        values = [[value for _, value in answer] for answer in (one, other)]
        torch.testing.assert_close(
            torch.tensor(values[0]), torch.tensor(values[1]), rtol=0, atol=TOLERANCE
        )


@pytest.fixture(scope="module")
def llama(folder: Path) -> Path:
    return saved_model(folder, "llama")


@pytest.fixture(scope="module")
def dense(llama: Path) -> list[Any]:
    """Tokens of vLLM without a plan, with the plugin installed."""
    answers, text = engine(llama, [prompts()])
    assert "ffbench:" not in text
    return answers


@pytest.fixture(scope="module")
def sparse(folder: Path, llama: Path) -> list[Any]:
    return hugging_face(llama, saved_plan(folder, llama, 0.5), [prompts()])


def test_density_one_is_vllm_token_for_token(folder: Path, llama: Path, dense: list[Any]) -> None:
    answers, text = engine(llama, [prompts()], saved_plan(folder, llama, 0.0))
    assert_same(answers, dense)
    assert "ffbench: density 1.000" in text


def test_chunks_mixed_batches_and_cached_prefixes_equal_the_hugging_face_path(
    folder: Path, llama: Path, dense: list[Any], sparse: list[Any]
) -> None:
    plan = saved_plan(folder, llama, 0.5)
    first, *others = prompts()
    # mixed: 1024 + [480, 64, 480] + [decode, decode, 128]; then alone; then from the cache
    answers, text = engine(llama, [[first, *others], [first], [first]], plan)
    assert_same(answers[:3], sparse)
    assert_same(answers[3:], [sparse[0], sparse[0]])
    assert tokens(sparse)[0] != tokens(dense)[0] and tokens(sparse)[2] != tokens(dense)[2]
    assert tokens(sparse)[1] == tokens(dense)[1]  # shorter than its dense ends
    density = re.search(r"ffbench: density (0\.\d+) of the FFN over (\d+) prompt tokens", text)
    assert density and int(density[2]) == 1024
    assert float(density[1]) == pytest.approx((1024 - 992 / 2) / 1024, abs=1e-3)


def test_compiled_equals_the_hugging_face_path(
    folder: Path, llama: Path, sparse: list[Any]
) -> None:
    plan = saved_plan(folder, llama, 0.5)
    answers, text = engine(llama, [prompts()], plan, enforce_eager=False)
    assert_same(answers, sparse)
    # the warm-up pass is dense and counts nowhere: the first pass with a prompt had 1024 tokens
    assert "Warming up model" in text
    assert re.search(r"ffbench: density 0\.\d+ of the FFN over 1024 prompt tokens", text)


@pytest.mark.parametrize("eager", [True, False])
def test_decoding_runs_in_vllms_own_mlp(folder: Path, llama: Path, eager: bool) -> None:
    given = {"ffbench_plan": str(saved_plan(folder, llama, 0.5))}
    options = {"additional_config": given, "enforce_eager": eager}
    found, _ = run("paths", model=str(llama), prompts=prompts()[:1], options=options)
    # on one thread the kernel has rows enough for the dense ends: a block, and 40 rows
    chunks = [["sparse", 1024 - BLOCK], ["dense", BLOCK]] * 2
    chunks += [["sparse", 480 - 40], ["dense", 40]] * 2
    assert found["calls"] == chunks + [["module", 1]] * 2 * (NEW_TOKENS - 1)
    assert found["unpacked"] == [True]


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_other_families_equal_the_hugging_face_path(folder: Path, family: str) -> None:
    model = saved_model(folder, family)
    plan = saved_plan(folder, model, 0.5)
    answers, _ = engine(model, [prompts()], plan)
    assert_same(answers, hugging_face(model, plan, [prompts()]))


def test_two_ranks_equal_the_sum_of_their_parts(folder: Path, llama: Path) -> None:
    plan = saved_plan(folder, llama, 0.5)
    answers, _ = engine(llama, [prompts()], plan, tensor_parallel_size=2)
    assert_same(answers, hugging_face(llama, plan, [prompts()], ranks=2))


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
