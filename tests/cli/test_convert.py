"""`sparsegen convert` from every format to every other."""

from itertools import product

import pytest
import torch

from gaussian_samples import assert_close, matched, recorded
from sparsegen.cli.convert import _UPS
from sparsegen.cli.main import main
from sparsegen.formats.axes import UPS
from sparsegen.formats.gaussian_files import FORMATS, load_gaussians, save_gaussians
from sparsegen.gaussians import Gaussians

SUFFIXES = [f.suffix for f in FORMATS]
# Two quantizations after each other, the coarsest of each kind.
TWICE = {"means": 1.2e-3, "angle": 3e-2, "log_scales": 0.04, "opacities": 4e-3, "colors": 6e-3}


@pytest.mark.parametrize(("first", "second"), [*product(SUFFIXES, SUFFIXES)])
def test_every_pair_of_formats(tmp_path, capsys, first, second):
    gaussians = recorded()
    save_gaussians(tmp_path / f"a{first}", gaussians)
    assert main(["convert", str(tmp_path / f"a{first}"), str(tmp_path / f"b{second}")]) == 0
    assert "128 Gaussians" in capsys.readouterr().out
    assert_close(matched(load_gaussians(tmp_path / f"b{second}"), gaussians), gaussians, **TWICE)


def test_axes_and_versions_can_be_asked_for(tmp_path):
    gaussians = recorded()
    save_gaussians(tmp_path / "scan.ply", gaussians, up="-y")
    options = ["--from-up=-y", "--to-up", "z", "--spz-version", "4"]
    assert main(["convert", str(tmp_path / "scan.ply"), str(tmp_path / "b.spz"), *options]) == 0
    assert (tmp_path / "b.spz").read_bytes()[:5] == b"NGSP\x04"
    assert_close(load_gaussians(tmp_path / "b.spz", up="z"), gaussians, **TWICE)
    assert _UPS == UPS


def test_the_stages_of_a_mesh_are_told(monkeypatch):
    pytest.importorskip("skimage")
    from sparsegen import meshing

    monkeypatch.setattr(meshing, "bake", lambda mesh, *_: mesh)
    monkeypatch.setattr(meshing, "check_texture", lambda _: None)
    told = []
    meshing.extract_mesh(recorded(), 16, views=8, texture=64, begin=told.append)
    assert told == [*meshing.STAGES]


@pytest.mark.parametrize("options", [["b.glb", "--mesh"], ["b.obj"]])
def test_meshes_stand_upright(tmp_path, capsys, options):
    """A flat plate, long in front (+X): long along +Z and thin along +Y in the file."""
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    place = torch.cartesian_prod(torch.linspace(-0.1, 0.4, 26), torch.linspace(-0.1, 0.1, 11), torch.zeros(1))
    count = len(place)
    flat = torch.tensor([0.02, 0.02, 0.01]).repeat(count, 1)
    upright = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1)
    colors = torch.tensor([0.2, 0.6, 0.3]).repeat(count, 1)
    save_gaussians(tmp_path / "a.ply", Gaussians(place, upright, flat, torch.full((count,), 0.9), colors))
    target, *more = options
    assert (
        main(["convert", str(tmp_path / "a.ply"), str(tmp_path / target), "--resolution", "32", *more]) == 0
    )
    assert "triangles" in capsys.readouterr().out
    mesh = trimesh.load(tmp_path / target, force="mesh")
    assert mesh.is_watertight
    low, high = mesh.bounds
    assert high[2] == pytest.approx(0.42, abs=0.03)
    assert low[2] == pytest.approx(-0.12, abs=0.03)
    assert high[0] == pytest.approx(0.12, abs=0.03)
    assert -0.04 < low[1] < 0 < high[1] < 0.04


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ply", "b.glb"], "none.ply: no such file"),
        (["a.ply", "b.stl"], "b.stl: no Gaussian format by that name"),
        (["a.ply", "b.stl", "--mesh"], "b.stl: no mesh format by that name"),
        (["a.ply", "b.obj", "--resolution", "9"], "--resolution: expected 16 to 512 steps, found 9"),
        (["a.ply", "b.obj", "--texture", "9"], "--texture: expected 64 to 8192 texels on a side, found 9"),
        (["a.ply", "b.glb", "--texture", "64"], "--texture: only for meshes; add --mesh"),
        (["a.ply", "b.spz", "--resolution", "-4"], "--resolution: only for meshes; add --mesh"),
        (["a.ply", "b.glb", "--spz-version", "4"], "--spz-version 4: b.glb is no .spz file"),
        (["a.ply", "b.obj", "--spz-version", "3"], "--spz-version 3: b.obj is no .spz file"),
        (["a.ply", "b.obj", "--to-up", "z"], "--to-up=z: meshes are written with y up"),
        (["a.ply", "b.spz", "--spz-version", "2"], "invalid choice: 2"),
        (["a.ply", "b.spz", "--to-up", "x"], "invalid choice: 'x'"),
        (["broken.spz", "b.ply"], "broken.spz: "),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    save_gaussians("a.ply", recorded())
    (tmp_path / "broken.spz").write_bytes(b"NGSP" + bytes(30))
    assert main(["convert", *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not list(tmp_path.glob("b.*"))
