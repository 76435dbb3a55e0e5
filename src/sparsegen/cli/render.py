"""`sparsegen render`: pictures of a Gaussian file."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsegen.cameras import Cameras
    from sparsegen.gaussians import Gaussians

SUMMARY = "render a Gaussian file: turntable (MP4, GIF, WebP), one picture, or a folder of views"

_EXAMPLES = """\
examples:
  sparsegen render car.ply                       car.mp4, a turntable
  sparsegen render car.ply -o car.gif --size 256 --fps 15 --frames 60
  sparsegen render car.ply -o front.png --azimuth 20 --size 800
  sparsegen render car.ply --views 24            car_views/: RGBA pictures and transforms.json
  sparsegen render car.ply --views 100 --path sphere -o nerf

transforms.json has NeRF's layout: camera to world, x right, y up, z backward, in a world with +Z up.
"""
_PATHS = ("orbit", "spiral", "sphere")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("file", type=Path)
    add("-o", "--output", type=Path, help=".mp4, .gif, .webp, .png, or a folder (default: FILE with .mp4)")
    add("--size", type=int, default=512, help="pixels (default: 512)")
    add("--frames", type=int, default=120, help="frames of a turntable (default: 120)")
    add("--fps", type=float, default=30.0, help="frames a second (default: 30)")
    add("--views", type=int, metavar="N", help="write a folder of N views (default folder: FILE_views)")
    add("--path", choices=_PATHS, default="orbit", help="where views are taken from (default: orbit)")
    add("--azimuth", type=float, default=0.0, metavar="DEGREES", help="of a single picture (default: 0)")
    add("--elevation", type=float, default=20.0, metavar="DEGREES", help="height of the camera (default: 20)")
    add("--background", type=float, default=1.0, metavar="GRAY", help="0 black to 1 white (default: 1)")


def run(args: argparse.Namespace) -> None:
    from sparsegen.formats.gaussian_files import load_gaussians

    _check(args)
    output = _output(args)
    suffix = output.suffix.lower()
    gaussians = load_gaussians(args.file)
    if suffix == "":
        _write_folder(args, gaussians, output)
    elif suffix == ".png":
        _write_picture(args, gaussians, output)
    else:
        _write_turntable(args, gaussians, output)
    print(output)


def _check(args: argparse.Namespace) -> None:
    from sparsegen.cli._options import check_options
    from sparsegen.errors import InputError

    check_options(args)
    if not 0 <= args.background <= 1:
        raise InputError(f"--background: expected a gray from 0 to 1, found {args.background:g}")
    if not 0.01 <= args.fps <= 1000:
        raise InputError(f"--fps: expected 0.01 to 1000, found {args.fps:g}")
    if args.views is not None and args.views < 1:
        raise InputError(f"--views: expected at least 1, found {args.views}")


def _output(args: argparse.Namespace) -> Path:
    """What to write: said, or named after the file. Raises `InputError` if it cannot be."""
    from sparsegen.errors import InputError
    from sparsegen.formats.animation import MOVING_SUFFIXES

    if args.views is not None:
        output = args.output or Path(f"{args.file.stem}_views")
        if output.suffix:
            raise InputError(f"{output}: --views writes a folder; give a name without suffix, or --frames")
        return output
    output = args.output or Path(f"{args.file.stem}.mp4")
    if output.suffix.lower() not in (*MOVING_SUFFIXES, ".png", ""):
        kinds = ", ".join((*MOVING_SUFFIXES, ".png"))
        raise InputError(f"{output}: cannot write {output.suffix}; give {kinds} or a folder without suffix")
    return output


def _write_turntable(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from tqdm import tqdm

    from sparsegen.formats.animation import save_animation
    from sparsegen.turntable import orbit_around, render_frames

    cameras = orbit_around(gaussians, args.frames, args.size, math.radians(args.elevation))
    frames = render_frames(gaussians, cameras, args.background)
    # Closed before an error is told, so that the bar's line is free for it.
    with tqdm(frames, total=args.frames, unit="frame", leave=False, disable=None) as shown:
        save_animation(output, (frame.rgb for frame in shown), args.fps)


def _write_picture(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from sparsegen.formats.images import save_image
    from sparsegen.turntable import orbit_around, render_frames

    camera = orbit_around(gaussians, 1, args.size, math.radians(args.elevation), math.radians(args.azimuth))
    save_image(output, next(render_frames(gaussians, camera, args.background)).rgb)


def _write_folder(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from sparsegen.data.layouts.transforms_json import write_transforms_object
    from sparsegen.data.packed import Viewset
    from sparsegen.turntable import render_rgba

    cameras = _cameras(args, gaussians)
    pictures = render_rgba(gaussians, cameras)
    write_transforms_object(Viewset(output.name, pictures, cameras), output)


def _cameras(args: argparse.Namespace, gaussians: Gaussians) -> Cameras:
    from sparsegen.cameras import fibonacci_sphere, spiral
    from sparsegen.turntable import fit_cameras, orbit_around

    count = args.views or args.frames
    if args.path == "orbit":
        elevation, azimuth = math.radians(args.elevation), math.radians(args.azimuth)
        return orbit_around(gaussians, count, args.size, elevation, azimuth)
    around = spiral if args.path == "spiral" else fibonacci_sphere
    return fit_cameras(gaussians, around(count, size=args.size))
