"""`sparsegen render`: pictures of a Gaussian file."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsegen.gaussians import Gaussians

SUMMARY = "render a Gaussian file: turntable video, one picture, or a folder of views"

_EXAMPLES = """\
examples:
  sparsegen render car.ply                       car.mp4, a turntable
  sparsegen render car.ply -o front.png --azimuth 20 --size 800
  sparsegen render car.ply -o views --frames 24  RGBA pictures and transforms.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("file", type=Path)
    add("-o", "--output", type=Path, help=".mp4, .png, or a folder (default: FILE with .mp4, here)")
    add("--size", type=int, default=512, help="pixels (default: 512)")
    add("--frames", type=int, default=120, help="frames of a video or views of a folder (default: 120)")
    add("--azimuth", type=float, default=0.0, metavar="DEGREES", help="of a single picture (default: 0)")
    add("--elevation", type=float, default=20.0, metavar="DEGREES", help="height of the camera (default: 20)")
    add("--background", type=float, default=1.0, metavar="GRAY", help="0 black to 1 white (default: 1)")


def run(args: argparse.Namespace) -> None:
    from sparsegen.cli._options import check_options
    from sparsegen.errors import InputError
    from sparsegen.formats.gaussian_files import load_gaussians

    check_options(args)
    if not 0 <= args.background <= 1:
        raise InputError(f"--background: expected a gray from 0 to 1, found {args.background:g}")
    output = args.output or Path(args.file.with_suffix(".mp4").name)
    writers = {".mp4": _write_video, ".png": _write_picture, "": _write_folder}
    if output.suffix.lower() not in writers:
        raise InputError(
            f"{output}: cannot write {output.suffix}; give .mp4, .png or a folder without suffix"
        )
    writers[output.suffix.lower()](args, load_gaussians(args.file), output)
    print(output)


def _write_video(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from tqdm import tqdm

    from sparsegen.formats.video import save_video
    from sparsegen.turntable import orbit_around, render_frames

    cameras = orbit_around(gaussians, args.frames, args.size, math.radians(args.elevation))
    frames = render_frames(gaussians, cameras, args.background)
    # Closed before an error is told, so that the bar's line is free for it.
    with tqdm(frames, total=args.frames, unit="frame", leave=False, disable=None) as shown:
        save_video(output, (frame.rgb for frame in shown))


def _write_picture(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from sparsegen.formats.images import save_image
    from sparsegen.turntable import orbit_around, render_frames

    camera = orbit_around(gaussians, 1, args.size, math.radians(args.elevation), math.radians(args.azimuth))
    save_image(output, next(render_frames(gaussians, camera, args.background)).rgb)


def _write_folder(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    import numpy as np
    import torch

    from sparsegen.data.layouts.transforms_json import write_transforms_object
    from sparsegen.data.packed import Viewset
    from sparsegen.turntable import orbit_around, render_frames

    cameras = orbit_around(gaussians, args.frames, args.size, math.radians(args.elevation))
    pictures = []
    for frame in render_frames(gaussians, cameras, background=None):
        straight = torch.where(frame.alpha > 0, frame.rgb / frame.alpha.clamp_min(1e-6), 1.0)
        rgba = torch.cat([straight.clamp(0, 1), frame.alpha[None]])
        pictures.append((rgba * 255).round().byte().permute(1, 2, 0).numpy())
    write_transforms_object(Viewset(output.name, np.stack(pictures), cameras), output)
