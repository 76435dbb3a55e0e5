"""Print the size and the loss of each Gaussian file format for an object of 5,120 Gaussians.

The loss is PSNR between pictures of the object and of what is read back from the file: eight views of
256 pixels over white.

    python benchmarks/formats.py [FILE]     a Gaussian file instead of the random object
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

from sparsegen.cameras import orbit
from sparsegen.formats.gaussian_files import FORMATS, GaussianFormat, load_gaussians, save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import random_scene


def main(source: str | None = None) -> None:
    gaussians = load_gaussians(source) if source else random_scene(count=5120)[0][0]
    print(f"{gaussians.count:,} Gaussians\n")
    print("| suffix | up | bytes | PSNR |")
    print("| --- | --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMATS:
            for version in (3, 4) if form.suffix == ".spz" else (3,):
                size, psnr = measure(form, version, gaussians, Path(folder))
                note = f" version {version}" if form.suffix == ".spz" else ""
                shown = "over 100 dB" if psnr > 100 else f"{psnr:.1f} dB"
                print(f"| {form.suffix}{note} | {form.up} | {size:,} | {shown} |")


def measure(form: GaussianFormat, version: int, gaussians: Gaussians, folder: Path) -> tuple[int, float]:
    """Bytes of the file, and PSNR in dB of what it holds."""
    path = folder / f"object{form.suffix}"
    save_gaussians(path, gaussians, spz_version=version)
    cameras = orbit(8, size=256)
    truth, found = (
        render(g, cameras, backend="cpu", depth=False).rgb for g in (gaussians, load_gaussians(path))
    )
    return path.stat().st_size, -10 * math.log10(max(float((truth - found).square().mean()), 1e-12))


if __name__ == "__main__":
    main(*sys.argv[1:2])
