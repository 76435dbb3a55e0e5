"""Whole outputs or none."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_folder, atomic_path, check_readable, write_bytes


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    final = tmp_path / "new folder" / "object.ply"
    with atomic_path(final) as temporary:
        assert temporary.parent == final.parent
        assert temporary.suffix == ".ply"
        temporary.write_bytes(b"whole")
        assert not final.exists()
    assert final.read_bytes() == b"whole"
    assert listing(final.parent) == ["object.ply"]


def test_permissions_follow_the_umask(tmp_path):
    write_bytes(tmp_path / "a", b"a")
    (tmp_path / "b").write_bytes(b"b")
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == stat.S_IMODE(os.stat(tmp_path / "b").st_mode)


def write_half(final: Path, fault: BaseException) -> None:
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"hal")
        raise fault


@pytest.mark.parametrize("fault", [ValueError("broken"), KeyboardInterrupt()])
def test_a_fault_leaves_the_old_file(tmp_path, fault):
    final = tmp_path / "object.ply"
    final.write_bytes(b"old")
    with pytest.raises(type(fault)):
        write_half(final, fault)
    assert final.read_bytes() == b"old"
    assert listing(tmp_path) == ["object.ply"]


def test_a_full_disk_is_an_input_error(tmp_path):
    final = tmp_path / "object.ply"
    with pytest.raises(OSError, match="space") as full:
        Path("/dev/full").write_bytes(b"every write to it fails")
    with pytest.raises(InputError) as caught:
        write_half(final, full.value)
    assert str(final) in str(caught.value)
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    "final", ["file/object.ply", "file/deeper/object.ply", "folder", "x" * 300 + "/a.ply", "x" * 300 + ".ply"]
)
def test_impossible_places(tmp_path, final):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as caught:
        write_bytes(tmp_path / final, b"data")
    assert str(tmp_path / final) in str(caught.value)
    assert listing(tmp_path) == ["file", "folder"]
    assert listing(tmp_path / "folder") == []


@pytest.mark.parametrize("final", ["", "/"])
def test_a_path_without_a_name(final):
    with pytest.raises(InputError, match="does not name an output"):
        write_bytes(final, b"data")


def test_folders(tmp_path):
    final = tmp_path / "frames"
    with atomic_folder(final) as temporary:
        (temporary / "0.png").write_bytes(b"0")
        assert not final.exists()
    assert listing(final) == ["0.png"]
    with pytest.raises(InputError, match="remove it or choose another name"), atomic_folder(final):
        pass
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "other") as temporary:
        (temporary / "0.png").write_bytes(bytes([1 // 0]))
    assert listing(tmp_path) == ["frames"]


def test_check_readable(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "full").write_bytes(b"x")
    assert check_readable(tmp_path / "full") == tmp_path / "full"
    for name, words in {
        "empty": "0 bytes",
        "missing": "no such file",
        ".": "folder",
        "full/below": "cannot be read",
        "nul\0": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=words):
            check_readable(tmp_path / name)


def test_folders_made_for_nothing_go_with_the_process(tmp_path):
    """Those that were there before stay, and so do those with something in them."""
    (tmp_path / "old").mkdir()
    program = (
        "import sys; from pathlib import Path; from sparsegen.formats.files import make_folder\n"
        "root = Path(sys.argv[1])\n"
        "for name in ('old', 'new/inner', 'kept/inner'):\n    make_folder(root / name)\n"
        "print(sorted(p.name for p in root.iterdir()))\n"
        "(root / 'kept' / 'file').write_text('x')\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True)
    assert printed.strip() == "['kept', 'new', 'old']"
    assert listing(tmp_path) == ["kept", "old"]
    assert listing(tmp_path / "kept") == ["file"]
