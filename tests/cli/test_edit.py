"""`sparsegen edit` as a person meets it."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from plyfile import PlyData

from networks import build, small
from sparsegen.cli.main import main
from sparsegen.editing import attention_likeness
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians
from sparsegen.formats.ply import load_ply, save_ply
from sparsegen.generation import Pipeline
from sparsegen.models.pretrained import save_pretrained
from sparsegen.photos import frame, read_photo
from sparsegen.pose import estimate_camera
from test_editing import row
from test_photos import save_blob


@pytest.fixture
def file(tmp_path):
    save_ply(tmp_path / "row.ply", row())
    return tmp_path / "row.ply"


def run(*argv):
    return main([str(a) for a in argv])


def test_queries_survive_in_the_file(file, tmp_path, capsys):
    assert not run("edit", file, "--ids", "1-2", "--delete", "-o", tmp_path / "out.ply")
    assert "6 Gaussians; 2 of 5 queries" in capsys.readouterr().out
    assert PlyData.read(tmp_path / "out.ply")["vertex"].count == 6
    edited = load_ply(tmp_path / "out.ply")
    assert edited.expansion == 2
    torch.testing.assert_close(edited.means[:, 0], torch.tensor([0, 0, 0.3, 0.3, 0.4, 0.4]))


def test_other_formats_are_told_their_expansion(file, tmp_path, capsys):
    save_gaussians(tmp_path / "row.glb", load_ply(file))
    assert not run("edit", tmp_path / "row.glb", "--expansion", 2, "--nearest", "0.2,0,0", "--list")
    assert capsys.readouterr().out.strip() == "2"
    assert run("edit", tmp_path / "row.glb", "--expansion", 3, "--ids", 0, "--list") == 2
    assert "divides the 10 Gaussians" in capsys.readouterr().err


def test_selections_add_up_and_changes_follow_each_other(file, tmp_path, capsys):
    assert not run("edit", file, "--sphere=0.4,0,0,0.05", "--ids", 0, "--grow", 0.11, "--invert", "--list")
    assert capsys.readouterr().out.strip() == "2"
    output = tmp_path / "out.spz"
    assert not run("edit", file, "--box=-1,-1,-1,0.05,1,1", "--move=0,0.5,0", "--scale", 2, "-o", output)
    edited = load_gaussians(output)
    torch.testing.assert_close(edited.scales[0], torch.full((3,), 0.04), rtol=0.05, atol=0)
    torch.testing.assert_close(edited.means[:2, 1], torch.tensor([0.5, 0.5]), rtol=0, atol=1e-3)
    torch.testing.assert_close(edited.means[2:, 1], torch.zeros(8), rtol=0, atol=1e-3)


def test_growing_alike_looks_at_the_picture(tmp_path, capsys):
    """The file's object is a prefix of the model's; what the command selects is what the functions do."""
    pipeline = Pipeline(build(small()))
    save_pretrained(pipeline.model, tmp_path, torch.float32)
    picture = save_blob(tmp_path / "blob.png")
    rgba = read_photo(picture)
    camera = estimate_camera(pipeline, rgba)[0]
    views = frame(rgba, 32, camera.azimuth, camera.elevation)
    save_ply(tmp_path / "made.ply", pipeline(views, queries=5)[0])
    likeness = attention_likeness(pipeline, views, 5)
    expected = {int(likeness[1].topk(2).indices[1]), 1}
    command = ["edit", tmp_path / "made.ply", "--ids", 1, "--list", "--picture", picture, "--model", tmp_path]
    assert not run(*command, "--grow-alike", 1)
    assert {int(i) for i in capsys.readouterr().out.split(",")} == expected
    assert run(*command[:4], "--list", "--grow-alike", 1) == 2
    assert "--picture is missing" in capsys.readouterr().err
    assert run(*command, "--shrink-alike=-1") == 2
    assert "--shrink-alike: expected at least 0, found -1" in capsys.readouterr().err
    Image.new("RGB", (40, 30), (200, 30, 30)).save(picture)
    assert run(*command, "--grow-alike", 1) == 2
    assert capsys.readouterr().err.endswith("give a picture with alpha (RGBA PNG)\n")  # there is no --mask


def test_swap_with_another_file(file, tmp_path):
    other = row()
    save_ply(tmp_path / "other.ply", replace(other, colors=1 - other.colors))
    assert not run("edit", file, "--ids", 0, "--swap", tmp_path / "other.ply", "-o", tmp_path / "out.ply")
    colors = load_ply(tmp_path / "out.ply").colors[:, 0]
    torch.testing.assert_close(colors[:2], 1 - other.colors[:2, 0])
    torch.testing.assert_close(colors[2:], other.colors[2:, 0])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--ids", "1"], "no output: name one with -o, or use --list"),
        (["--ids", "1", "--delete"], "no output for --delete: name one with -o"),
        (["--ids", "1", "--list", "--scale", "2", "--delete"], "no output for --scale, --delete"),
        (["--ids", "1", "--list", "--picture", "a.png"], "--picture: only for --grow-alike"),
        (["--ids", "1", "--list", "--grow", "1", "--model", "m"], "--model: only for --grow-alike"),
        (["--ids", "1", "-o", "x.ply"], "no change asked for"),
        (["--ids", "7", "--delete", "-o", "x.ply"], "query 7: expected a number from 0 to 4"),
        (["--ids", "2-99999999999", "--delete", "-o", "x.ply"], "query 5"),
        (["--ids", "a", "--delete", "-o", "x.ply"], "expected numbers and ranges"),
        (["--ids", "4-2", "--delete", "-o", "x.ply"], "runs backwards; write 2-4"),
        (["--ids", "1", "--grow", "-1", "--delete", "-o", "x.ply"], "--grow: expected at least 0"),
        (["--ids", "1", "--shrink", "nan", "--delete", "-o", "x.ply"], "--shrink: expected at least 0"),
        (["--delete", "-o", "x.ply"], "nothing is selected"),
        (["--sphere", "9,9,9,0.1", "--delete", "-o", "x.ply"], "holds no query"),
        (["--sphere", "1,2,nan,1", "--delete", "-o", "x.ply"], "expected 4 numbers"),
        (["--ids", "0-4", "--delete", "-o", "x.ply"], "there are no Gaussians"),
        (["--ids", "0", "--recolor", "2,0,0", "-o", "x.ply"], "three numbers from 0 to 1"),
        (["--ids", "0", "--delete", "-o", "x.doc"], "no Gaussian format by that name"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(file, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(file.parent)
    assert run("edit", file, *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert [p.name for p in file.parent.iterdir()] == ["row.ply"]
