"""Records from a made archive in place of the hub's, and what is said where there is none."""

import hashlib
import json
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from ffbench.tasks.base import TaskError
from ffbench.tasks.longbench import records as longbench_data
from ffbench.tasks.registry import get_spec


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for task in ("qasper", "qasper_e"):
            rows = [
                {
                    "_id": f"{task}-{i}",
                    "dataset": task,
                    "input": "Q",
                    "context": "C",
                    "answers": ["é"],
                    "all_classes": None,
                    "length": i,
                }
                for i in range(3)
            ]
            packed.writestr(f"data/{task}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def download(repository: str, name: str, **options: object) -> str:
        assert (repository, name, options["revision"], options["repo_type"]) == (
            "zai-org/LongBench",
            "data.zip",
            longbench_data.REVISION,
            "dataset",
        )
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(
        longbench_data, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()
    )
    return path


def test_records_come_out_of_the_archive(archive: Path) -> None:
    assert [r.record_id for r in get_spec("qasper_e").records(2)] == ["qasper_e-0", "qasper_e-2"]
    assert get_spec("qasper").records(None)[0].answers == ("é",)
    with pytest.raises(TaskError, match=r"data.zip: data/lcc.jsonl: cannot be read"):
        get_spec("lcc").records(None)


def test_other_bytes_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longbench_data, "ARCHIVE_SHA256", "0" * 64)
    longbench_data.checked.cache_clear()
    with pytest.raises(TaskError, match="is not that of revision 5e628be450"):
        get_spec("qasper").records(None)


@pytest.mark.parametrize("hub_there", [False, True])
def test_without_records_both_ways_are_named(
    monkeypatch: pytest.MonkeyPatch, hub_there: bool
) -> None:
    asked = []

    def download(*arguments: str, **options: object) -> str:
        asked.append(options["local_files_only"])
        raise LocalEntryNotFoundError("no such entry")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(longbench_data, "reachable", lambda endpoint: hub_there)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(
        TaskError, match=r"task.data_dir= to a folder .* or start once on a machine with a network"
    ):
        get_spec("qasper").records(None)
    assert asked == ([True, False] if hub_there else [True])


def test_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longbench_data, "getproxies", dict)
    assert not longbench_data.reachable("https://127.0.0.1:1")
    monkeypatch.setattr(longbench_data, "getproxies", lambda: {"https": "http://proxy"})
    assert longbench_data.reachable("https://127.0.0.1:1")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="none is not a directory"):
        get_spec("qasper").records(None, str(tmp_path / "none"))
