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
_DEFAULTS = {
    "frames": 120,
    "fps": 30.0,
    "path": "orbit",
    "azimuth": 0.0,
    "elevation": 20.0,
    "background": 1.0,
}
# What does not apply to each kind of output.
_IDLE = {
    "a turntable": ("path", "azimuth"),
    "one picture": ("frames", "fps", "path"),
    "a folder of views": ("fps", "background"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("file", type=Path)
    add("-o", "--output", type=Path, help=".mp4, .gif, .webp, .png, or a folder (default: FILE with .mp4)")
    add("--size", type=int, default=512, help="pixels (default: 512)")
    add("--frames", type=int, help="frames of a turntable (default: 120)")
    add("--fps", type=float, help="frames a second of a turntable (default: 30)")
    add("--views", type=int, metavar="N", help="write a folder of N views (default folder: FILE_views)")
    add("--path", choices=_PATHS, help="where the views of a folder are taken from (default: orbit)")
    add("--azimuth", type=float, metavar="DEGREES", help="of a picture, or of a folder's orbit (default: 0)")
    add("--elevation", type=float, metavar="DEGREES", help="height of the camera (default: 20)")
    add("--background", type=float, metavar="GRAY", help="0 black to 1 white (default: 1)")


def run(args: argparse.Namespace) -> None:
    from sparsegen.formats.gaussian_files import load_gaussians

    _check(args)
    kind, output = _output(args)
    _refuse_idle(args, kind)
    for name, value in _DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    gaussians = load_gaussians(args.file)
    writers = {"a folder of views": _write_folder, "one picture": _write_picture}
    writers.get(kind, _write_turntable)(args, gaussians, output)
    print(output)


def _check(args: argparse.Namespace) -> None:
    from sparsegen.cli._options import check_options
    from sparsegen.errors import InputError

    check_options(args)
    if args.background is not None and not 0 <= args.background <= 1:
        raise InputError(f"--background: expected a gray from 0 to 1, found {args.background:g}")
    if args.fps is not None and not 0.01 <= args.fps <= 1000:
        raise InputError(f"--fps: expected 0.01 to 1000, found {args.fps:g}")
    if args.views is not None and args.views < 1:
        raise InputError(f"--views: expected at least 1, found {args.views}")


def _output(args: argparse.Namespace) -> tuple[str, Path]:
    """Of what kind the output is, and its name: said, or made of the file's. `InputError` if it cannot be."""
    from sparsegen.errors import InputError
    from sparsegen.formats.animation import MOVING_SUFFIXES
    from sparsegen.outputs import stem_of

    if args.views is not None:
        if args.output is not None and args.output.suffix:
            raise InputError(
                f"{args.output}: --views writes a folder; give a name without suffix, or --frames"
            )
        return "a folder of views", args.output or Path(f"{stem_of(args.file)}_views")
    output = args.output or Path(f"{stem_of(args.file)}.mp4")
    suffix = output.suffix.lower()
    if suffix not in (*MOVING_SUFFIXES, ".png", ""):
        kinds = ", ".join((*MOVING_SUFFIXES, ".png"))
        raise InputError(f"{output}: cannot write {output.suffix}; give {kinds} or a folder without suffix")
    return {"": "a folder of views", ".png": "one picture"}.get(suffix, "a turntable"), output


def _refuse_idle(args: argparse.Namespace, kind: str) -> None:
    """Refuse options that this kind of output does not know."""
    from sparsegen.cli._options import given
    from sparsegen.errors import InputError

    if options := given(args, *_IDLE[kind]):
        raise InputError(f"{options}: not for {kind}; leave it out, or name another output by -o")
    if args.views is not None and args.frames is not None:
        raise InputError("--frames: --views says how many; leave one of the two out")
    if args.path not in (None, "orbit") and (options := given(args, "azimuth", "elevation")):
        raise InputError(f"{options}: --path {args.path} knows its own cameras; leave one of the two out")


def _write_turntable(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from sparsegen.cli._progress import progress
    from sparsegen.turntable import save_turntable

    elevation = math.radians(args.elevation)
    # Closed before an error is told, so that the bar's line is free for it.
    with progress(args.frames, "frame") as tick:
        save_turntable(output, gaussians, args.frames, args.size, elevation, args.background, args.fps, tick)


def _write_picture(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from sparsegen.formats.images import save_image
    from sparsegen.turntable import orbit_around, render_frames

    camera = orbit_around(gaussians, 1, args.size, math.radians(args.elevation), math.radians(args.azimuth))
    save_image(output, next(render_frames(gaussians, camera, args.background)).rgb)


def _write_folder(args: argparse.Namespace, gaussians: Gaussians, output: Path) -> None:
    from sparsegen.cli._progress import progress
    from sparsegen.data.layouts.transforms_json import write_transforms_object
    from sparsegen.data.packed import Viewset
    from sparsegen.turntable import render_rgba

    cameras = _cameras(args, gaussians)
    with progress(len(cameras), "view") as tick:
        pictures = render_rgba(gaussians, cameras, tick)
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
