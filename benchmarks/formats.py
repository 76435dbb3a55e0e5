"""Print the size and the loss of each Gaussian file format for an object of 5,120 Gaussians.

The loss is PSNR between pictures of the object and of what is read back from the file: eight views of
256 pixels over white.

    python benchmarks/formats.py [FILE]     a Gaussian file instead of the random object

With the environment variable SPLAT_TRANSFORM naming PlayCanvas' splat-transform, another column has the loss
when that program reads the file and writes a PLY; or, since it does not read glTF, when Babylon.js reads it.
`make judge-formats` installs both.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sparsegen.cameras import orbit
from sparsegen.formats.gaussian_files import FORMATS, GaussianFormat, load_gaussians, save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import random_scene
from sparsegen.tables import markdown_table

BABYLON = Path(__file__).parents[1] / "tests/formats/babylon_reads.mjs"


def main(source: str | None = None) -> None:
    gaussians = load_gaussians(source) if source else random_scene(count=5120)[0][0]
    print(f"{gaussians.count:,} Gaussians\n")
    judge = os.environ.get("SPLAT_TRANSFORM")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMATS:
            for version in (3, 4) if form.suffix == ".spz" else (3,):
                path = Path(folder, f"object{form.suffix}")
                save_gaussians(path, gaussians, spz_version=version)
                note = f" version {version}" if form.suffix == ".spz" else ""
                size = f"{path.stat().st_size:,}"
                rows.append([f"{form.suffix}{note}", form.up, size, loss(gaussians, load_gaussians(path))])
                if judge:
                    rows[-1].append(judged_loss(judge, form, version, gaussians, Path(folder)))
    titles = ["suffix", "up", "bytes", "PSNR", "PSNR after a judge"]
    print(markdown_table(titles[: len(rows[0])], rows, left=2))


def loss(gaussians: Gaussians, found: Gaussians) -> str:
    """PSNR of the pictures of what was found, in words."""
    cameras = orbit(8, size=256)
    pictures = [render(g, cameras, backend="cpu", depth=False).rgb for g in (gaussians, found)]
    psnr = -10 * math.log10(max(float((pictures[0] - pictures[1]).square().mean()), 1e-12))
    return "over 100 dB" if psnr > 100 else f"{psnr:.1f} dB"


def judged_loss(judge: str, form: GaussianFormat, version: int, gaussians: Gaussians, folder: Path) -> str:
    """The same of what the judges read from our file."""
    path = folder / f"for_judge{form.suffix}"
    if form.suffix in (".glb", ".gltf"):
        save_gaussians(path, gaussians)
        command, target, up = ["node", BABYLON], folder / "judged.splat", "y"
    else:
        save_gaussians(path, gaussians, up="-y", spz_version=version)  # as it takes all files to be
        command, target, up = [judge, "-q", "-w"], folder / "judged.ply", "-y"
    subprocess.run([*command, path, target], check=True, capture_output=True)
    return loss(gaussians, load_gaussians(target, up=up))


if __name__ == "__main__":
    main(*sys.argv[1:2])
