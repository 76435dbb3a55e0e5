"""`sparsegen info`: what Gaussian files and models hold, and what it says of what is neither."""

import pytest

from commands import one_line, run
from gaussian_samples import recorded
from networks import build, small
from sparsegen.formats.gaussian_files import save_gaussians
from sparsegen.formats.ply import load_ply
from sparsegen.models.pretrained import save_pretrained


@pytest.fixture
def ply(tmp_path):
    save_gaussians(tmp_path / "object.ply", recorded())
    return tmp_path / "object.ply"


def test_info_tells_what_a_gaussian_file_holds(ply, capsys):
    assert not run("info", ply)
    printed = capsys.readouterr().out
    gaussians = load_ply(ply)
    assert f"{gaussians.count:,}" in printed
    assert f"x {gaussians.means[:, 0].min():.3f}" in printed


def test_info_tells_what_a_model_is(tmp_path, capsys):
    save_pretrained(build(small()), tmp_path)
    assert not run("info", tmp_path)
    printed = capsys.readouterr().out
    parameters = sum(p.numel() for p in build(small()).parameters())
    assert f"{parameters:,}" in printed


def test_info_of_a_folder_that_is_none_names_what_it_could_be(tmp_path, ply, capsys):
    (tmp_path / "empty").mkdir()
    told = "neither a dataset (SRN, NeRF, CO3D) nor a model folder; "
    assert run("info", tmp_path) == 2
    assert one_line(capsys) == f"sparsegen: {tmp_path}: {told}did you mean {ply}?"
    assert run("info", tmp_path / "empty") == 2
    assert one_line(capsys) == f"sparsegen: {tmp_path / 'empty'}: {told}give one, or a file"


@pytest.mark.parametrize("verb", ["render", "info"])
@pytest.mark.parametrize("fault", ["missing", "text", "cut", "mesh"])
def test_a_bad_gaussian_file_is_one_line(tmp_path, ply, capsys, verb, fault):
    path = tmp_path / "bad.ply"
    if fault == "text":
        path.write_text("hello")
    elif fault == "cut":
        path.write_bytes(ply.read_bytes()[:-50])
    elif fault == "mesh":
        header = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        path.write_text(header + "property float z\nend_header\n0 0 0\n")
    assert run(verb, path) == 2
    assert "bad.ply" in one_line(capsys)
