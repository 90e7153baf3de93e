"""Bad overrides, options and models on the command line: exit code 2 and one line per problem.

Further tables of the same promise: test_bad_input.py (settings), test_bad_files.py (data files),
test_bad_plans.py, test_bad_sweep_files.py and test_bad_environments.py.
"""

import json
from pathlib import Path

import pytest
from refusals import refused

# what is typed (words split at spaces) and a part of the one line
GRAMMAR = [
    ("sparsity=interval(0.1,0.8)", "an interval has no list of values; give values"),
    ("seed=interval(1,5)", "seed: an interval"),
    ("model=glob(zz*)", "model: glob() matches none of its files. Valid: "),
    ("seed=glob(*)", "seed: glob() chooses files of a group"),
    ("task.data_dir=/data/größe", "quote the value for the shell and for Hydra: "),
    ("task.data_dir=/data/größe", "'task.data_dir=\"/data/größe\"'"),
    ("task.data_dir=/data/par(1)", "'task.data_dir=\"/data/par(1)\"'"),
    ("task.data_dir=x=y", "quote the value"),
    ("task.data_dir=a#b", "quote the value"),
    ("task.data_dir=a&b", "quote the value"),
    ("task.data_dir=a~1", "quote the value"),
    ("task.data_dir=q'uote", "quote the value"),
    ("task.data_dir='open", "quote the value"),
    ("speed.lengths=[1,2", "quote the value"),
    ("speed.lengths=1]", "quote the value"),
    ("task.tasks={a", "quote the value"),
    ("sparsity==", "sparsity has no value"),
    ("=0.5", "not understood"),
    ("sparsity:0.5", "'sparsity:0.5' is not a command"),
    ("sparsity = 0.5", "is not"),
    ("sparsity=0.5,", "sparsity"),
    ("sparsity=,0.5", "sparsity"),
    ("a.b.c.d=1", "no such setting"),
    ("model.name.first=1", "no such setting"),
    ("+new=1", "no such setting"),
    ("seed=None", "seed: "),
    ("seed=null", "seed: "),
    ("sparsity=null", "sparsity: "),
    ("block_size=None", "block_size: "),
    ("speed.lengths=null", "speed.lengths: "),
    ("hydra.searchpath=[file:///not/there]", "hydra.searchpath: /not/there is not a directory"),
]
NAMES = [
    ("repot", "did you mean 'report'?"),
    ("REPORT", "did you mean 'report'?"),
    ("lm-eval", "did you mean 'lm_eval'?"),
    ("run", "did you mean '+sweep=sparsity'?"),
    ("train", "Commands: report, status"),
    ("modl=tiny_llama", "modl: no such group; did you mean 'model'?"),
    ("Model=tiny_llama", "did you mean 'model'?"),
    ("schedulers=uniform", "did you mean 'scheduler'?"),
    ("griffin=1", "did you mean 'selector=griffin'?"),
    ("selector=GRIFFIN", "did you mean 'selector=griffin'?"),
    ("selector=Wanda", "did you mean 'selector=static selector.statistic=wanda'?"),
    ("selector=FLAP", "did you mean 'selector=static selector.statistic=flap'?"),
    ("selector=probe-pruning", "did you mean 'selector=probe'?"),
    ("model=Tiny_Llama", "did you mean 'tiny_llama'?"),
    ("hydra/launcher=joblib", "hydra/launcher: choose with launcher="),
    ("hydra/sweeper=basic", "hydra/sweeper: not used here"),
    ("launcher=jobllib", "did you mean 'joblib'?"),
    ("hydra.launcher.n_jbos=2", "hydra.launcher.n_jbos"),
    ("launcher=local,joblib", "launcher: one at a time"),
    ("experiment=paper_table", "write +experiment=paper_table"),
    ("+experiment=papertable", "did you mean 'paper_table'?"),
    ("+sweep=", "sweep: '' is unknown"),
]
OPTIONS = [
    ("--dryrun", "did you mean '--dry-run'?"),
    ("--dry-run=yes sparsity=0.5", "--dry-run: "),
    ("-x", "-x: no such option"),
    ("--cfg all", "argument --cfg: invalid choice: 'all'"),
    ("--cfg", "argument --cfg: expected one argument"),
    ("--config-dir", "argument --config-dir: expected one argument"),
    ("--config-dir not/there", "--config-dir: not/there is not a directory"),
    ("sparsity=0.5 0.6", "0.6"),
    ("report --format pdf", "report: argument --format: invalid choice: 'pdf'"),
    ("report --fromat md", "report: --fromat: no such option; did you mean '--format'?"),
    ("report sparsity=0.5", "report: sparsity=0.5: of settings only output_dir=FOLDER"),
    ("report ffff output_dir=none", "no run in none has a key that begins with it"),
    ("report --to", "report: argument --to: expected one argument"),
    ("compare abc", "compare: the following arguments are required: second"),
    ("compare", "compare: the following arguments are required: first, second"),
    ("compare a b c", "compare: c: not understood"),
    ("compare 0123456789abcdef fedcba9876543210", "no result"),
    ("status a b", "status: b: not understood"),
    ("status --wach", "did you mean '--watch'?"),
    ("status ../x", "sweep name '../x'"),
    ("status --watch", "--watch: no sweep in outputs"),
    ("plan", "plan: the following arguments are required: action, folder"),
    ("plan sve x", "invalid choice: 'sve'"),
    ("plan show x sparsity=0.5", "plan show takes a folder only"),
    ("plan save x sparsity=0.3,0.5 model=tiny_llama", "2 jobs were given"),
    ("plan save x sparsity=0 model=tiny_llama", "which needs no plan"),
    ("plan load x --json", "plan: --json: no such option"),
    ("plan show /dev/null", "/dev/null"),
    ("speed shape=llama-9b", "shape: 'llama-9b' is unknown"),
    ("speed --shape", "speed: argument --shape: expected one argument"),
    ("speed plan=x --jsn", "did you mean '--json'?"),
    ("speed model=tiny_llama speed.rounds=0", "speed.rounds: 0 is too small"),
    ("speed model=tiny_llama sparsity=0", "sparsity: 0 is the dense model"),
    ("sweep", "sweep: the following arguments are required: --local"),
    ("sweep x.yaml", "required: --local"),
    ("sweep /dev/null --local --count none", "argument --count: invalid int value: 'none'"),
    ("sweep /dev/null --local --count 0", "--count: 0 is too small"),
    ("sweep /dev/null --local", "/dev/null is not a sweep file"),
    ("sync --project a/b", "tracker.project"),
    ("sync --projct a", "did you mean '--project'?"),
    ("sync 12 output_dir=none", "no run in none has a key that begins with it"),
    ("completion", "completion: the following arguments are required: shell"),
    ("completion tcsh", "invalid choice: 'tcsh'"),
]
SETTINGS = [
    ("output_dir=a,b", "output_dir: the jobs of one command share one folder, received a, b"),
    ("output_dir=${model.name} model=tiny_llama,tiny_qwen2", "received tiny_llama, tiny_qwen2"),
    ("model=folder model.name=x model.location=not/there", "not/there is not a directory"),
    ("model=folder model.name=x model.location=.", "no model.safetensors"),
    ("model=folder", "model.location: must be given"),
    ("model=folder model.name=x", "model.location: must be given"),
    ("model=smollm2_135m model.location=a/b", "package 'a/b' must ship one GGUF file"),
    ("model=smollm2_135m model.location=json", "found 0 files"),
]


TABLE = [
    ([line], text) if table is GRAMMAR else (line.split(), text)
    for table in (GRAMMAR, NAMES, OPTIONS, SETTINGS)
    for line, text in table
]


@pytest.mark.parametrize(("words", "text"), TABLE, ids=[" ".join(words) for words, _ in TABLE])
def test_one_line_and_exit_code_2(
    words: list[str],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(words, text, capsys, monkeypatch)
    assert not list(tmp_path.iterdir())


CONFIG = {
    "model_type": "llama",
    "hidden_act": "silu",
    "intermediate_size": 157,
    "max_position_embeddings": 512,
}
MODELS = [
    ({"model_type": "gpt2"}, "", "its FFN has no gate"),
    ({"num_local_experts": 8}, "", "mixture of experts"),
    ({"mlp_bias": True}, "", "mlp_bias=true"),
    ({"hidden_act": "quick_gelu"}, "", "activation 'quick_gelu'"),
    ({"quantization_config": {"quant_method": "gptq"}}, "", "weights are quantised (gptq)"),
    ({}, "group_size=8", "group_size: 8 does not divide the model's 157 neurons"),
    ({}, "fidelity.windows=1", "1536 + up to 512 of a question = 2048 tokens, but"),
    ({}, "fidelity.windows=1 fidelity.tails=[copy]", "1536 + a tail of 255 + 1 = 1792 tokens, but"),
    (
        {},
        "scheduler=curvature",
        "1024 + 128 of a passage again = 1152 tokens, but the model has 512",
    ),
    ({}, "scheduler=sensitivity", "compensator.tune_steps: 1024 + 128 of a passage again = 1152"),
    (
        {},
        "compensator.tune_steps=3",
        "compensator.tune_steps: 1024 + 128 of a passage again = 1152",
    ),
    ({}, "objective.metric=answer", "objective.metric or compensator.tune_steps: 1024 + 128"),
    ({}, "calibration.window=2048", "calibration.window: 2048 tokens"),
    ({}, "speed.lengths=[64,1024]", "speed.lengths: 1024 tokens"),
    ({}, "task=embedded", "task.max_length: 2048 tokens"),
    ([], "", "config.json is not a JSON object"),
    (None, "", "config.json is not JSON"),
]
FILES = [
    (["model.safetensors", "x.gguf"], "holds 2 checkpoints; choose one with model.file="),
    (["model.safetensors"], "has no tokenizer; copy tokenizer.json"),
    (["model.safetensors.index.json", "tokenizer.json"], "is damaged"),
    (["pytorch_model.bin"], "no model.safetensors"),
    (["adapter_config.json"], "LoRA adapter"),
    (
        ["model.safetensors", "tokenizer.json", "adapter_config.json"],
        "would load the adapter's base",
    ),
]
SHORT = [
    "block_size=32",
    "calibration.window=256",
    "fidelity.windows=0",
    "speed.lengths=[64]",
    "scheduler=uniform",  # others read training windows of 1152 tokens
]


def model_words(folder: Path) -> list[str]:
    return [
        "model=folder",
        "model.name=x",
        f"model.location={folder}",
        "task=none",
        *SHORT,
        f"output_dir={folder.parent / 'out'}",
    ]


@pytest.mark.parametrize(("change", "more", "text"), MODELS, ids=[text for *_, text in MODELS])
def test_what_config_json_tells_is_told_before_any_load(
    change: dict | list | None,
    more: str,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes(b"x" * 2000)
    config = json.dumps(CONFIG | change if isinstance(change, dict) else change)
    (folder / "config.json").write_text("{" if change is None else config)
    errors = refused([*model_words(folder), *more.split()], text, capsys, monkeypatch)
    assert len(errors.splitlines()) == 1 and "the same command" not in errors


@pytest.mark.parametrize(("names", "text"), FILES, ids=[text for _, text in FILES])
def test_folders_without_one_whole_checkpoint(
    names: list[str],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in names:
        (folder / name).write_bytes(b"x" * 2000)
    refused(model_words(folder), text, capsys, monkeypatch)
