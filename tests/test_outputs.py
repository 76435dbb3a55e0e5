"""Names of outputs, and what is refused before the work."""

from pathlib import Path

import pytest

from sparsegen.errors import InputError
from sparsegen.outputs import plan_outputs, stem_of


def names(planned):
    return [[path.name for path in outputs.all] for outputs in planned]


def test_a_folder_gets_a_set_of_files_for_each_name(tmp_path):
    planned = plan_outputs(tmp_path / "new", ["a", "b"], samples=2, suffix=".spz")
    assert names(planned)[1] == ["b_0.spz", "b_1.spz", "b_0.mp4", "b_1.mp4", "b_views.png"]
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/car.ply", "car"),
        ("car.Compressed.PLY", "car"),
        ("v1.2.spz", "v1.2"),
        ("car.old", "car"),
        ("a", "a"),
    ],
)
def test_a_stem_is_without_the_whole_suffix_of_a_format(name, stem):
    assert stem_of(Path(name)) == stem


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("x.spz", ["x.spz", "x.mp4", "x_views.png"]),
        ("deep/x.compressed.ply", ["x.compressed.ply", "x.mp4", "x_views.png"]),
        ("X.PLY", ["X.PLY", "X.mp4", "X_views.png"]),
        ("v1.2", ["a.ply", "a.mp4", "a_views.png"]),
        ("there.ply", ["a.ply", "a.mp4", "a_views.png"]),
        (".ply", ["a.ply", "a.mp4", "a_views.png"]),
    ],
)
def test_a_name_with_a_gaussian_suffix_is_a_file_unless_a_folder_has_it(tmp_path, output, expected):
    (tmp_path / "there.ply").mkdir()
    assert names(plan_outputs(tmp_path / output, ["a"])) == [expected]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("x.obj", r"x\.obj: no file of Gaussians"),
        ("x.mp4", "no file of Gaussians"),
        ("file/out", "cannot be written"),
        ("file/x.ply", "cannot be written"),
        ("busy", "a folder has this name"),
        (".", "would be overwritten"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, output, words):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "busy" / "a.mp4").mkdir(parents=True)
    read = tmp_path / "a_views.png"
    with pytest.raises(InputError, match=words):
        plan_outputs(tmp_path / output, ["a"], inputs=[read])


def test_a_name_and_a_format_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"car\.PLY: ends in \.ply, but --format asks for \.spz"):
        plan_outputs(tmp_path / "car.PLY", ["a"], suffix=".spz")
    assert names(plan_outputs(tmp_path / "car.PLY", ["a"], suffix=".ply"))[0][0] == "car.PLY"


def test_one_file_cannot_hold_several_objects(tmp_path):
    with pytest.raises(InputError, match="2 objects"):
        plan_outputs(tmp_path / "x.ply", ["a", "b"])


def test_a_folder_that_nobody_may_write_to_is_refused():
    with pytest.raises(InputError, match="cannot be written"):
        plan_outputs(Path("/proc"), ["a"])
