"""Files of tensors: shared by the umask, and named when they cannot be read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ffbench.runs.files import StoreError
from ffbench.runs.tensor_files import load_tensors, save_tensors

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
WRITES_TENSORS = ("methods/plan_files.py", "models/weight_copy.py", "runs/tensor_files.py")


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_tensors_are_shared_as_the_umask_says(umask: int, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    before = os.umask(umask)
    try:
        save_tensors(TENSORS, path, {"size": "3"})
        save_tensors(TENSORS, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode and [p.name for p in tmp_path.iterdir()] == [
        path.name
    ]
    loaded = load_tensors(path)
    assert all(torch.equal(loaded[name], value) for name, value in TENSORS.items())


def test_a_damaged_file_names_the_folder_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(
        StoreError, match=f"t.safetensors is damaged .*remove the folder {tmp_path}"
    ):
        load_tensors(path)
    with pytest.raises(StoreError, match="cannot read .*none: No such file"):
        load_tensors(tmp_path / "none")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs a second user")
def test_a_file_of_another_user_is_not_called_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(TENSORS, path)
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys, torch, safetensors.torch\n"
        "from pathlib import Path\n"
        "from ffbench.runs.tensor_files import load_tensors\n"
        "os.setuid(12345)\n"
        "try:\n    load_tensors(Path('t.safetensors'))\n"
        "except Exception as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "cannot read t.safetensors: permission denied" in done.stdout, done.stderr


def test_stages_write_their_tensors_by_one_function() -> None:
    import ffbench

    root = Path(ffbench.__file__).parent
    writers = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "save_file" in path.read_text(encoding="utf-8")
    ]
    assert sorted(writers) == sorted(WRITES_TENSORS)
