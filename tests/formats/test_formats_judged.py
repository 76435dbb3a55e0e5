"""Every Gaussian format judged by programs that are not ours: PlayCanvas' splat-transform, and Babylon.js for
glTF, which that does not read.

`make judge-formats` installs them and runs these tests; elsewhere they are skipped. SPLAT_TRANSFORM names
the command where it lies elsewhere.
"""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gaussian_samples import assert_close, matched, picture_psnr, recorded, tiled
from sparsegen.formats.gaussian_files import format_of_suffix, load_gaussians, save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.splatting.scenes import random_scene

MODULES = Path(__file__).parents[2] / "node_modules"
INSTALLED = MODULES / ".bin/splat-transform"
COMMAND = os.environ.get("SPLAT_TRANSFORM") or (str(INSTALLED) if INSTALLED.exists() else "")
NODE = shutil.which("node") or ""
BABYLON = Path(__file__).with_name("babylon_reads.mjs")

by_splat_transform = pytest.mark.skipif(
    not COMMAND or not NODE, reason="no splat-transform here: make judge-formats installs it"
)
by_babylon = pytest.mark.skipif(
    not NODE or not (MODULES / "@babylonjs").exists(),
    reason="no Babylon.js here: make judge-formats installs it",
)

# In its eyes all formats but glTF have -Y up. Ours do too, but for .ply (+Z up) and .spz (+Y up, as its
# specification has it), which are asked for -Y up here.
FOR_JUDGE = {".ply": "-y", ".spz": "-y", ".splat": None, ".compressed.ply": None, ".glb": None}
BITS = {
    ".ply": {"colors": 2e-6},
    ".compressed.ply": {"means": 8e-4, "angle": 6e-3, "log_scales": 4e-3, "opacities": 2e-3, "colors": 2e-3},
    ".splat": {"angle": 3e-2, "opacities": 2e-3, "colors": 2e-3},
    ".spz": {"means": 1.3e-4, "angle": 6e-3, "log_scales": 0.0313, "opacities": 2e-3, "colors": 3.7e-3},
    ".glb": {"colors": 2e-6},
}


def transform(*arguments: object) -> None:
    subprocess.run([COMMAND, "-q", "-w", *map(str, arguments)], check=True, capture_output=True, timeout=600)


def read_by_babylon(path: Path) -> Gaussians:
    """What it makes of a glTF file: it keeps the axes, and takes rotations and colors in 8 bits."""
    found = path.with_suffix(".splat")
    subprocess.run([NODE, BABYLON, path, found], check=True, capture_output=True, timeout=600)
    return load_gaussians(found, up="y")


def scene(name: str) -> Gaussians:
    """Recorded outputs of a network, or a whole object of 5,120 random Gaussians."""
    return {"recorded": recorded, "tiled": tiled, "random": lambda: random_scene(count=5120)[0][0]}[name]()


def assert_judged(found: Gaussians, expected: Gaussians, suffix: str) -> None:
    assert_close(matched(found, expected), expected, **BITS[suffix])
    assert picture_psnr(found, expected) > (45 if format_of_suffix(f"a{suffix}").lossless else 35)


@by_splat_transform
@pytest.mark.parametrize("name", ["recorded", "tiled", "random"])
@pytest.mark.parametrize(
    ("suffix", "version"), [(".ply", 3), (".compressed.ply", 3), (".splat", 3), (".spz", 3), (".spz", 4)]
)
def test_it_reads_what_we_write(tmp_path, name, suffix, version):
    gaussians = scene(name)
    save_gaussians(tmp_path / f"a{suffix}", gaussians, FOR_JUDGE[suffix], spz_version=version)
    transform(tmp_path / f"a{suffix}", tmp_path / "judged.ply")
    assert_judged(load_gaussians(tmp_path / "judged.ply", up="-y"), gaussians, suffix)


@by_splat_transform
@pytest.mark.parametrize("name", ["recorded", "tiled", "random"])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".ply", []),
        (".compressed.ply", []),
        (".spz", ["--spz-version", 3]),
        (".spz", ["--spz-version", 4]),
        (".glb", []),
    ],
)
def test_we_read_what_it_writes(tmp_path, name, suffix, options):
    gaussians = scene(name)
    save_gaussians(tmp_path / "a.ply", gaussians, up="-y")
    transform(*options, tmp_path / "a.ply", tmp_path / f"judged{suffix}")
    assert_judged(load_gaussians(tmp_path / f"judged{suffix}", FOR_JUDGE[suffix]), gaussians, suffix)


@by_splat_transform
@pytest.mark.parametrize("suffix", [".compressed.ply", ".splat"])
def test_it_stands_upright(tmp_path, suffix):
    """What it takes for upright in a file of ours, it writes as glTF, where +Y is up by definition."""
    gaussians = tiled()
    save_gaussians(tmp_path / f"a{suffix}", gaussians)
    transform(tmp_path / f"a{suffix}", tmp_path / "judged.glb")
    assert_judged(load_gaussians(tmp_path / "judged.glb"), gaussians, suffix)


@by_splat_transform
def test_the_judge_tells_a_fault(tmp_path):
    """Rotations of the wrong hand must not pass."""
    gaussians = tiled()
    wrong = replace(gaussians, quats=gaussians.quats * torch.tensor([1.0, -1, -1, -1]))
    save_gaussians(tmp_path / "a.splat", wrong)
    transform(tmp_path / "a.splat", tmp_path / "judged.ply")
    assert picture_psnr(load_gaussians(tmp_path / "judged.ply", up="-y"), gaussians) < 35


@by_babylon
@pytest.mark.parametrize("name", ["recorded", "tiled", "random"])
@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
def test_babylon_reads_our_gltf(tmp_path, name, suffix):
    gaussians = scene(name)
    save_gaussians(tmp_path / f"a{suffix}", gaussians)
    found = read_by_babylon(tmp_path / f"a{suffix}")
    assert_close(matched(found, gaussians), gaussians, **BITS[".splat"])
    assert picture_psnr(found, gaussians) > 45


@by_babylon
def test_babylon_tells_a_fault(tmp_path):
    """Scales that are not what glTF says they are must not pass."""
    gaussians = tiled()
    save_gaussians(tmp_path / "a.glb", replace(gaussians, scales=gaussians.scales.exp()))
    assert picture_psnr(read_by_babylon(tmp_path / "a.glb"), gaussians) < 35
