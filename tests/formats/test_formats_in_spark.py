"""What Spark, the renderer of the page, reads from our Gaussian files with a reader of its own."""

import base64
from dataclasses import replace

import pytest
import torch

from browser import open_page
from gaussian_samples import assert_close, matched, picture_psnr, recorded, tiled
from sparsegen.formats.gaussian_files import save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.splatting.scenes import random_scene
from sparsegen.viewer import FOLDER

# Spark itself keeps rotations in 32 bits, and logarithms of scales, opacities and colors in half precision.
# It does not bring the rotations of .splat files, in 8 bits, to unit length: little ones come out wrong.
OWN = {"angle": 8e-3, "log_scales": 2e-3, "opacities": 2.5e-4, "colors": 2.5e-4}
BITS = {
    ".ply": OWN,
    ".compressed.ply": OWN
    | {"means": 8e-4, "angle": 1e-2, "log_scales": 4e-3, "opacities": 2.5e-3, "colors": 2.5e-3},
    ".splat": OWN | {"angle": 0.26, "opacities": 2.5e-3, "colors": 2.5e-3},
    ".spz": OWN | {"means": 1.3e-4, "angle": 1e-2, "log_scales": 0.0313, "opacities": 2.5e-3, "colors": 4e-3},
}
READ = """async ([name, data]) => {
  const fileBytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), rows = [];
  const mesh = await new Spark.SplatMesh({ fileBytes, fileName: name, extSplats: true }).initialized;
  mesh.forEachSplat((i, m, s, q, opacity, c) =>
    rows.push([m.x, m.y, m.z, s.x, s.y, s.z, q.w, q.x, q.y, q.z, c.r, c.g, c.b, opacity]));
  return rows;
}"""


@pytest.fixture(scope="module")
def spark():
    with open_page() as page:
        page.add_script_tag(path=FOLDER / "spark.min.js")
        yield page


def read(spark, path) -> Gaussians:
    data = base64.b64encode(path.read_bytes()).decode()
    means, scales, quats, colors, opacities = torch.tensor(spark.evaluate(READ, [path.name, data])).split(
        [3, 3, 4, 3, 1], dim=1
    )
    return Gaussians(means, quats, scales, opacities[:, 0], colors)


@pytest.mark.parametrize("name", ["recorded", "tiled", "random"])
@pytest.mark.parametrize("suffix", [".ply", ".compressed.ply", ".splat", ".spz"])
def test_it_reads_what_we_write(spark, tmp_path, name, suffix):
    gaussians = {"recorded": recorded, "tiled": tiled, "random": lambda: random_scene(count=5120)[0][0]}[
        name
    ]()
    save_gaussians(tmp_path / f"a{suffix}", gaussians, up="z")
    found = read(spark, tmp_path / f"a{suffix}")
    assert_close(matched(found, gaussians), gaussians, **BITS[suffix])
    assert picture_psnr(found, gaussians) > (70 if suffix == ".ply" else 49)


def test_it_tells_a_fault(spark, tmp_path):
    """Rotations of the wrong hand must not pass."""
    gaussians = tiled()
    save_gaussians(
        tmp_path / "a.ply", replace(gaussians, quats=gaussians.quats * torch.tensor([1.0, -1, -1, -1]))
    )
    assert picture_psnr(read(spark, tmp_path / "a.ply"), gaussians) < 35
