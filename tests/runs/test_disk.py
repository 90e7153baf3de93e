"""A full or read-only disk: a clear error, and nothing lost that was written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ffbench.runs import answers as answers_module
from ffbench.runs.answers import AnswerLog
from ffbench.runs.cache import StageCache
from ffbench.runs.files import StoreError, locked, read_json, write_json
from ffbench.runs.store import RunStore

KEY = "0123456789abcdef"


def test_a_partly_written_answer_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AnswerLog(tmp_path / "answers.jsonl")
    log.append({"record_id": 0})
    whole, write = (tmp_path / "answers.jsonl").read_bytes(), os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) > 5:
            return write(descriptor, data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answers_module.os, "write", full)
    with pytest.raises(
        StoreError, match=r"cannot append to .*answers\.jsonl: the disk is full.*kept"
    ):
        log.append({"record_id": 1234567890})
    assert (tmp_path / "answers.jsonl").read_bytes() == whole
    monkeypatch.undo()
    log.append({"record_id": 2})
    assert [answer["record_id"] for answer in log.read()] == [0, 2]


@pytest.mark.parametrize("number", [30, 13], ids=["read-only", "no permission"])
def test_what_cannot_be_written_names_the_folder_and_the_setting(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "out"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for action in (
        lambda: RunStore(tmp_path / "out").folder(KEY).start({}, {}),
        lambda: StageCache(tmp_path / "out").get_or_make("fit", "k", lambda folder: None),
        lambda: RunStore(tmp_path / "out").save_sweep("s", []),
    ):
        with pytest.raises(StoreError, match="output_dir=FOLDER") as caught:
            action()
        assert str(tmp_path / "out") in str(caught.value)


def test_an_output_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/deeper"):
        with pytest.raises(StoreError, match="cannot create folder .*output_dir=FOLDER"):
            RunStore(tmp_path / place).folder(KEY).start({}, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_real_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="permission denied"):
            RunStore(tmp_path / "out").folder(KEY).start({}, {})
    finally:
        tmp_path.chmod(0o700)


def test_a_shared_file_in_use_is_said(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "x.json"),
        pytest.raises(StoreError, match="in use by another process"),
        locked(tmp_path / "x.json", timeout=0.05),
    ):
        pass


FULL_DISK = """
import sys
from pathlib import Path
from ffbench.runs.cache import StageCache
from ffbench.runs.files import StoreError
from ffbench.runs.store import RunStore
output = Path(sys.argv[1])
run = RunStore(output).folder("0123456789abcdef")
run.start({}, {})
written = 0
try:
    while True:
        run.answer_log.append({"record_id": written, "prediction": "x" * 500})
        written += 1
except StoreError as error:
    print(error)
assert [a["record_id"] for a in run.answers()] == list(range(written)) and written > 20
try:
    StageCache(output).get_or_make("fit", "k", lambda folder: (folder / "w").write_bytes(b"0" * 10**6) and None)
except StoreError as error:
    print(error)
(output / "ballast").unlink()
run.answer_log.append({"record_id": written})
run.finish({"answers": len(run.answers())})
assert run.result() == {"answers": written + 1}
assert [p for p in output.rglob("*part*")] == []
print("whole")
"""
MOUNT = 'mount -t tmpfs -o size=256k none "$1" && head -c 40000 /dev/zero > "$1/ballast" && shift && exec "$@"'


def test_a_really_full_disk(tmp_path: Path) -> None:
    command = ["unshare", "--map-root-user", "--mount", "sh", "-ec", MOUNT, "sh", str(tmp_path)]
    try:
        possible = (
            subprocess.run(
                [*command, "true"], capture_output=True, timeout=20, check=False
            ).returncode
            == 0
        )
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("no permission to mount a small tmpfs in a namespace of its own")
    done = subprocess.run(
        [*command, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the disk is full") == 2 and done.stdout.endswith("whole\n")


def test_lone_surrogates_are_written_escaped(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": "zwölf \ud83d"})
    assert read_json(tmp_path / "a.json") == {"x": "zwölf \ud83d"}
    assert (tmp_path / "a.json").read_text(encoding="utf-8")
    log = AnswerLog(tmp_path / "answers.jsonl")
    log.append({"text": "\ud83d"})
    assert log.read() == [{"text": "\ud83d"}]
    log.close()


def test_a_failure_with_any_reason_leaves_a_true_state(tmp_path: Path) -> None:
    run = RunStore(tmp_path).folder("a" * 16)
    run.start({}, {})
    run.fail("TaskError: record '\ud83d' is bad")
    assert run.state().state == "failed" and not run.state().interrupted
    assert not list(run.path.glob(".*.part"))


def test_answers_can_be_shared_by_a_group(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        log = AnswerLog(tmp_path / "answers.jsonl")
        log.append({"a": 1})
        log.close()
    finally:
        os.umask(before)
    assert (tmp_path / "answers.jsonl").stat().st_mode & 0o777 == 0o664
