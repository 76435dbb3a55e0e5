"""`sparsegen generate`: pictures to Gaussians, with a turntable and a sheet of views."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sparsegen.gaussians import Gaussians
    from sparsegen.generation import Pipeline
    from sparsegen.views import Views

SUMMARY = "turn pictures into 3D Gaussians"

_EXAMPLES = """\
examples:
  sparsegen generate car.png                        car.ply, car.mp4 and car_views.png, in this folder
  sparsegen generate a.png b.jpg -o out             two objects, each from its picture
  sparsegen generate a.png b.png --cameras transforms.json    one object from two posed pictures
  sparsegen generate --unconditional --steps 10 --samples 4   objects from noise alone

An RGBA picture brings its cut-out; an opaque one needs a plain background. Where a single picture was
taken from is estimated, unless --azimuth and --elevation say it (0, 0 is straight in front).
"""

_SHEET_VIEWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("pictures", nargs="*", type=Path, metavar="PICTURE")
    add("-o", "--output", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: here)")
    add("--samples", type=int, default=1, metavar="N", help="objects for each input (default: 1)")
    add("--steps", type=int, default=1, metavar="N", help="steps of the flow (default: 1)")
    add("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    add("--cameras", type=Path, metavar="JSON", help="transforms.json: the pictures show one object")
    add(
        "--azimuth",
        type=float,
        metavar="DEGREES",
        help="where a picture was taken from (default: estimated)",
    )
    add("--elevation", type=float, metavar="DEGREES", help="how high (default: estimated)")
    add("--framed", action="store_true", help="the picture is framed as the training pictures are")
    add("--unconditional", action="store_true", help="from noise alone, without pictures")
    add("--model", type=Path, help="model folder, or the reference's model.pth (default: shipped weights)")
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add("--size", type=int, default=256, help="pixels of the rendered pictures (default: 256)")
    add("--frames", type=int, default=120, help="frames of the turntable (default: 120)")


def run(args: argparse.Namespace) -> int:
    from sparsegen.errors import InputError

    _check(args)
    clock = _Clock()
    with clock("model"):
        from sparsegen.generation import Pipeline

        pipeline = Pipeline.from_pretrained(args.model, args.device)
    jobs = _jobs(args)
    failed = 0
    for name, paths in jobs:
        try:
            _generate(args, pipeline, name, paths, clock)
        except InputError as error:
            if len(jobs) == 1:
                raise
            print(f"sparsegen: {error}", file=sys.stderr)
            failed += 1
        clock.reset()
    if failed:
        print(f"sparsegen: {failed} of {len(jobs)} pictures failed", file=sys.stderr)
    return 2 if failed else 0


def _check(args: argparse.Namespace) -> None:
    from sparsegen.cli._options import check_options
    from sparsegen.errors import InputError

    check_options(args)
    if args.unconditional == bool(args.pictures):
        raise InputError(
            "--unconditional takes no pictures; leave one of the two out"
            if args.unconditional
            else "no picture given; name one, or use --unconditional to generate from noise"
        )
    if args.cameras and (args.azimuth is not None or args.elevation is not None):
        raise InputError("--cameras says where pictures were taken from; leave --azimuth, --elevation out")
    stems = [path.stem for path in args.pictures]
    if not args.cameras and len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(f"two pictures are called {twice!r} and would overwrite each other; rename one")


def _jobs(args: argparse.Namespace) -> list[tuple[str, list[Path]]]:
    """Name of the output and pictures of each object."""
    if args.unconditional:
        return [("object", [])]
    if args.cameras:
        return [(args.pictures[0].stem, args.pictures)]
    return [(path.stem, [path]) for path in args.pictures]


def _generate(
    args: argparse.Namespace, pipeline: Pipeline, name: str, paths: list[Path], clock: _Clock
) -> None:
    from sparsegen.formats.ply import save_ply

    views = _read(args, pipeline, paths, clock)
    with clock("gaussians"):
        objects = pipeline(views, steps=args.steps, seed=args.seed, samples=args.samples)
    names = [name] if args.samples == 1 else [f"{name}_{i}" for i in range(args.samples)]
    for stem, gaussians in zip(names, objects, strict=True):
        with clock("ply"):
            save_ply(args.output / f"{stem}.ply", gaussians.to("cpu"))
        with clock("video"):
            _write_turntable(args, gaussians, args.output / f"{stem}.mp4")
    with clock("views"):
        _write_sheet(args, views, objects, args.output / f"{name}_views.png")
    written = [f"{stem}{suffix}" for stem in names for suffix in (".ply", ".mp4")]
    print(f"{args.output}: {', '.join([*written, f'{name}_views.png'])} ({objects[0].count:,} Gaussians)")
    print(f"  {clock}")


def _read(args: argparse.Namespace, pipeline: Pipeline, paths: list[Path], clock: _Clock) -> Views | None:
    from sparsegen import photos

    size = pipeline.model.config.image_size
    if not paths:
        return None
    with clock("picture"):
        if args.cameras:
            return photos.read_posed_photos(paths, args.cameras, size)
        rgba = photos.read_photo(paths[0])
    with clock("camera"):
        azimuth, elevation = _camera(args, pipeline, paths[0], rgba)
    return (photos.take_whole if args.framed else photos.frame)(rgba, size, azimuth, elevation)


def _camera(args: argparse.Namespace, pipeline: Pipeline, path: Path, rgba: Tensor) -> tuple[float, float]:
    """Azimuth and elevation in degrees: said, or estimated and told."""
    from sparsegen import photos
    from sparsegen.pose import estimate_camera

    if args.azimuth is not None or args.elevation is not None or args.framed:
        azimuth = photos.AZIMUTH if args.azimuth is None else args.azimuth
        return azimuth, photos.ELEVATION if args.elevation is None else args.elevation
    best, *others = estimate_camera(pipeline, rgba)
    alternatives = ", ".join(f"{other.azimuth:g}" for other in others[:2])
    print(
        f"{path}: taken from azimuth {best.azimuth:g}, elevation {best.elevation:g}, it seems "
        f"(else azimuth {alternatives}); --azimuth and --elevation override"
    )
    return best.azimuth, best.elevation


def _write_turntable(args: argparse.Namespace, gaussians: Gaussians, path: Path) -> None:
    from sparsegen.formats.video import save_video
    from sparsegen.turntable import orbit_around, render_frames

    cameras = orbit_around(gaussians, args.frames, args.size)
    save_video(path, (frame.rgb for frame in render_frames(gaussians, cameras)))


def _write_sheet(args: argparse.Namespace, views: Views | None, objects: list[Gaussians], path: Path) -> None:
    from sparsegen.formats.images import contact_sheet
    from sparsegen.photos import as_large
    from sparsegen.turntable import orbit_around, render_frames

    inputs = [] if views is None else [as_large(image, args.size) for image in views.images[0].clamp(0, 1)]
    rows = []
    for gaussians in objects:
        cameras = orbit_around(gaussians, _SHEET_VIEWS, args.size)
        rows.append([*inputs, *(frame.rgb for frame in render_frames(gaussians, cameras))])
    columns = ["input"] * len(inputs) + [f"{360 * i // _SHEET_VIEWS} degrees" for i in range(_SHEET_VIEWS)]
    contact_sheet(rows, path, columns)


@dataclass
class _Clock:
    """Seconds spent in each stage; loading the model is told once."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent[stage] = self.spent.get(stage, 0.0) + time.perf_counter() - start

    def __str__(self) -> str:
        return ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in self.spent.items())

    def reset(self) -> None:
        self.spent.clear()
