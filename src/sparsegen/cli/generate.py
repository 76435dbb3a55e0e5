"""`sparsegen generate`: pictures to Gaussians, with a turntable and a sheet of views."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from sparsegen.cli._clock import Clock
from sparsegen.cli._generate_options import DETAIL_STEPS, check_generate, check_queries
from sparsegen.cli._progress import progress, tell

if TYPE_CHECKING:
    from sparsegen.batches import Source
    from sparsegen.gaussians import Gaussians
    from sparsegen.generation import Pipeline
    from sparsegen.outputs import Outputs
    from sparsegen.photos import Photo
    from sparsegen.views import Views

SUMMARY = "turn pictures into 3D Gaussians"

_EXAMPLES = """\
examples:
  sparsegen generate car.png                     car.ply, car.mp4 and car_views.png, in this folder
  sparsegen generate car.jpg -o out/car.spz      the name gives the format: ply, spz, splat, glb, gltf
  sparsegen generate photo.jpg --detail          sharper, from the photo's own pixels, in some seconds
  sparsegen generate street.jpg --box 40,60,420,280    the one car of many that is in this box
  sparsegen generate a.png b.jpg -o out          two objects, one from each picture
  sparsegen generate photos '*.webp' list.csv -o out   folders, patterns and tables: an object from each
  sparsegen generate a.png b.png --cameras transforms.json    one object from two posed pictures
  sparsegen generate a.png b.png --together                   one object from two photos without poses
  sparsegen generate car.png --samples 4                      four guesses, best match to the picture first
  sparsegen generate --unconditional --steps 10 --samples 4   objects from noise alone

Several pictures are several objects, unless --cameras or --together says that they show one. A table is
a CSV file: a first line `picture,mask,box,azimuth,elevation` (only `picture` must be there), then a line
for each picture; files are relative to the table. A picture that fails does not stop the others.

What is object and what is background: an RGBA picture's alpha says so, or --mask. Else --matting does:
  auto       an ONNX model in ~/.u2net (rembg's) if there is one; else the border's color if that is plain
             (and, where it is noisy, unless the model's own network is sure of another cut-out); else that
             network, if it is sure; else GrabCut, if OpenCV is installed
  border     what is connected to the border and has its color is background
  network    the foreground network that came with the model, for vehicles if it is the shipped one
  grabcut    GrabCut, seeded from the border (needs opencv-python-headless)
  PATH       an ONNX file (U-2-Net, IS-Net, BiRefNet), or the folder of the npm package
             @imgly/background-removal-data (needs onnxruntime)
Where several objects stand together, --box says which is meant: what is outside is background. Its numbers
are pixels of the picture as it stands upright, from the left and from the top; a table has "40 60 420 280".

Where a picture was taken from is estimated, as far as --azimuth and --elevation, or a table, do not say it
(0, 0 is straight in front). --together estimates the camera of each photo that the table does not give,
then turns them all so that one object explains every photo, and says how well it does. How far away it was
follows from the lens: --focal-length, or what the camera noted in the file; without either it is estimated,
too. A picture that seems tilted is turned level; --roll 0 leaves it as it is.
"""


# The fewest at which samples differ without exemplars (docs/gallery.md).
_SAMPLE_STEPS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add(
        "pictures", nargs="*", type=Path, metavar="PICTURE", help="pictures, folders, patterns or .csv tables"
    )
    add("-o", "--output", type=Path, default=Path(), metavar="PATH", help="folder, or file of Gaussians")
    add(
        "--format",
        choices=("ply", "compressed.ply", "spz", "splat", "glb", "gltf"),
        help="of Gaussian files in a folder (default: ply)",
    )
    add("--matting", metavar="HOW", help="auto (default), border, network, grabcut or a file")
    add("--mask", type=Path, metavar="FILE", help="picture, white where the object is (for one picture)")
    add("--box", metavar="L,T,R,B", help="left, top, right, bottom of the object in pixels (for one picture)")
    add("--samples", type=int, default=1, metavar="N", help="objects for each input, at most 64 (default: 1)")
    add(
        "--steps",
        type=int,
        metavar="N",
        help=f"steps of the flow (default: 1, or {_SAMPLE_STEPS} for --samples of a model without exemplars)",
    )
    add("--queries", type=int, metavar="N", help="anchor queries used: fewer, fewer Gaussians (default: all)")
    add("--detail", action="store_true", help="sharper, from the picture's pixels; nine times the Gaussians")
    add(
        "--refine",
        type=int,
        metavar="N",
        help=f"gradient steps against the pictures (default: 0, or {DETAIL_STEPS} with --detail)",
    )
    add("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    add("--cameras", type=Path, metavar="JSON", help="transforms.json: the pictures show one object")
    add("--together", action="store_true", help="the pictures show one object, from cameras to be found")
    add("--azimuth", type=float, metavar="DEGREES", help="where from (default: estimated)")
    add("--elevation", type=float, metavar="DEGREES", help="how high (default: estimated)")
    add("--roll", type=float, metavar="DEGREES", help="how far it is turned clockwise (default: estimated)")
    add("--focal-length", type=float, metavar="MM", help="35 mm equivalent (default: the picture's EXIF)")
    add("--framed", action="store_true", help="the picture is framed as the training pictures are")
    add("--unconditional", action="store_true", help="from noise alone, without pictures")
    add("--model", type=Path, help="model folder, or the reference's model.pth (default: shipped weights)")
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add("--precision", default="auto", help="of matrix products: float32, bfloat16 or auto (default)")
    add("--size", type=int, default=256, help="pixels of the rendered pictures (default: 256)")
    add("--frames", type=int, default=120, help="frames of the turntable (default: 120)")
    add("--no-video", dest="video", action="store_false", help="without the turntable")


def run(args: argparse.Namespace) -> int:
    from sparsegen.errors import InputError

    check_generate(args)
    clock = Clock()
    with clock("imports"):
        from sparsegen.generation import Pipeline
        from sparsegen.matting import AUTO, check_method
    groups, outputs = _plan(args)
    args.matting = args.matting or AUTO
    check_method(args.matting)
    with clock("model"):
        pipeline = Pipeline.from_pretrained(args.model, args.device, args.precision)
    check_queries(args, pipeline)
    if args.steps is None:
        from_noise = args.samples > 1 and (pipeline.exemplars is None or args.unconditional)
        args.steps = _SAMPLE_STEPS if from_noise else 1
    failed = []
    with progress(len(groups), "picture") as tick:
        for group, files in zip(groups, outputs, strict=True):
            try:
                _generate(args, pipeline, group, files, clock)
            except InputError as error:
                if len(groups) == 1:
                    raise
                tell(f"sparsegen: {error}", sys.stderr)
                failed.append(str(group[0].picture))
            clock.reset()
            tick()
    if failed:
        print(f"sparsegen: {len(failed)} of {len(groups)} failed: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


def _plan(args: argparse.Namespace) -> tuple[list[list[Source]], list[Outputs]]:
    """The pictures of each object, and its files; nothing that cannot be written is begun."""
    from dataclasses import replace

    from sparsegen.batches import find_sources, unique_names
    from sparsegen.box import Box
    from sparsegen.errors import InputError
    from sparsegen.formats.files import check_readable
    from sparsegen.outputs import plan_outputs

    sources = find_sources(args.pictures)
    if args.cameras:
        check_readable(args.cameras)
    if args.mask or args.box:
        option = "mask" if args.mask else "box"
        if len(sources) != 1:
            raise InputError(
                f"--{option}: is for one picture, found {len(sources)}; a CSV table has one for each"
            )
        box = Box.parse(args.box, "--box") if args.box else None
        sources = [replace(sources[0], mask=args.mask, box=box)]
    if args.unconditional:
        groups, names = [[]], ["object"]
    elif args.cameras or args.together:
        groups, names = [sources], [sources[0].picture.stem]
    else:
        groups, names = [[source] for source in sources], unique_names([s.picture for s in sources])
    read = [path for s in sources for path in (s.picture, s.mask) if path]
    suffix = f".{args.format}" if args.format else None
    return groups, plan_outputs(args.output, names, args.samples, suffix, args.video, read)


def _generate(
    args: argparse.Namespace, pipeline: Pipeline, group: list[Source], files: Outputs, clock: Clock
) -> None:
    from sparsegen.formats.gaussian_files import save_gaussians
    from sparsegen.photos import full_size
    from sparsegen.sheets import write_sheet
    from sparsegen.turntable import save_turntable

    photos, framed = _read(args, pipeline, group, clock)
    views = None if framed is None else framed(pipeline.model.config.image_size)
    with clock("gaussians"), progress(args.samples, "sample") as tick:
        objects = pipeline(views, args.steps, args.seed, args.samples, args.queries, tick)
    if views is not None and framed is not None and args.refine:
        with clock("detail" if args.detail else "refinement"):
            large = framed(full_size([photo.rgba for photo in photos], views))
            objects = [_refine(args, pipeline, gaussians, large) for gaussians in objects]
    objects, labels = _rank(args, objects, views)
    with clock("files"):
        for path, gaussians in zip(files.gaussians, objects, strict=True):
            save_gaussians(path, gaussians)
    with clock("pictures"), progress(len(files.videos) * args.frames, "frame", "turntable") as tick:
        for path, gaussians in zip(files.videos, objects, strict=False):
            save_turntable(path, gaussians, args.frames, args.size, tick=tick)
        write_sheet(files.sheet, photos, views, objects, args.size, labels)
    names = ", ".join(path.name for path in files.all)
    tell(f"{files.sheet.parent}: {names} ({objects[0].count:,} Gaussians)")
    tell(f"  {clock}")


def _read(
    args: argparse.Namespace, pipeline: Pipeline, group: list[Source], clock: Clock
) -> tuple[list[Photo], Callable[[int], Views] | None]:
    """The pictures of one object, cut out, and what frames them at any size."""
    from sparsegen import photos
    from sparsegen.errors import InputError, NotCutOutError
    from sparsegen.pose import view_from

    if not group:
        return [], None
    opened = []
    with clock("cut-out"), progress(len(group), "photo", "cut-out") as tick:
        for source in group:
            try:
                opened.append(
                    photos.open_photo(source.picture, args.matting, source.mask, args.model, source.box)
                )
            except NotCutOutError as error:
                raise InputError(f"{error}, or a --mask FILE, or a --box around the object") from None
            tick()
    for source, photo in zip(group, opened, strict=True):
        tell(f"{source.picture}: cut out by {photo.method}")
    if args.cameras:
        paths = [source.picture for source in group]
        cutouts = [photo.rgba for photo in opened]
        return opened, cache(partial(photos.pose_photos, paths, cutouts, args.cameras))
    with clock("camera"):
        if args.together:
            return opened, cache(_find_together(args, pipeline, group, opened))
        roll = _roll(args, pipeline, group[0], opened[0])
        azimuth, elevation = _camera(args, pipeline, group[0], opened[0], roll)
    rgba = opened[0].rgba
    if args.framed:
        return opened, cache(lambda size: photos.take_whole(rgba, size, azimuth, elevation))
    focal_length = args.focal_length or opened[0].focal_length
    framed = cache(partial(view_from, pipeline, rgba, azimuth, elevation, focal_length, roll=roll))
    if focal_length or pipeline.camera_head is not None:
        lens = f"a lens of {focal_length:g} mm, so" if focal_length else "from"
        seems = "" if focal_length else ", it seems; --focal-length overrides"
        distance = float(framed(pipeline.model.config.image_size).cameras.centers.norm())
        tell(f"{group[0].picture}: {lens} {distance:.1f} object sizes away{seems}")
    return opened, framed


def _roll(args: argparse.Namespace, pipeline: Pipeline, source: Source, photo: Photo) -> float:
    """By how many degrees the picture is turned clockwise: said, or estimated and told."""
    from sparsegen.pose import estimate_roll

    if args.roll is not None or args.framed:
        return args.roll or 0.0
    if roll := estimate_roll(pipeline, photo.rgba):
        way = "clockwise" if roll > 0 else "counterclockwise"
        override = "" if args.together else "; --roll overrides"
        tell(f"{source.picture}: tilted {way} by {abs(roll):.0f} degrees, it seems{override}")
    return roll


def _camera(
    args: argparse.Namespace, pipeline: Pipeline, source: Source, photo: Photo, roll: float
) -> tuple[float, float]:
    """Azimuth and elevation in degrees: said, or estimated and told."""
    from sparsegen import photos
    from sparsegen.pose import estimate_or_keep

    azimuth = args.azimuth if source.azimuth is None else source.azimuth
    elevation = args.elevation if source.elevation is None else source.elevation
    if azimuth is not None and elevation is not None:
        return azimuth, elevation
    if args.framed:
        azimuth = photos.AZIMUTH if azimuth is None else azimuth
        elevation = photos.ELEVATION if elevation is None else elevation
        tell(f"{source.picture}: taken to be from azimuth {azimuth:.0f}, elevation {elevation:.0f}")
        return azimuth, elevation
    best, *others = estimate_or_keep(pipeline, photo.rgba, (azimuth, elevation), roll)
    if azimuth is not None or elevation is not None:
        said, other = ("azimuth", "elevation") if elevation is None else ("elevation", "azimuth")
        tell(
            f"{source.picture}: {said} {getattr(best, said):.0f} as given, {other} "
            f"{getattr(best, other):.0f}, it seems; --{other} overrides"
        )
        return best.azimuth, best.elevation
    sure = "" if best.chance is None else f" ({best.chance:.0%} sure)"
    rivals = [other for other in others[:2] if other.chance is None or other.chance >= 0.01]
    otherwise = "; else from azimuth " if rivals else ""
    otherwise += ", ".join(
        f"{rival.azimuth:.0f}" + ("" if rival.chance is None else f" ({rival.chance:.0%})")
        for rival in rivals
    )
    tell(
        f"{source.picture}: taken from azimuth {best.azimuth:.0f}, elevation {best.elevation:.0f}, it "
        f"seems{sure}{otherwise}; --azimuth and --elevation override"
    )
    return best.azimuth, best.elevation


def _find_together(
    args: argparse.Namespace, pipeline: Pipeline, group: list[Source], opened: list[Photo]
) -> Callable[[int], Views]:
    """What frames photos of one object at any size, whose cameras are found together, and told."""
    from sparsegen.joint_pose import find_cameras_together, steps_at_most, views_from
    from sparsegen.pose import estimate_or_keep, upright

    cutouts, lenses = [], []
    for source, photo in zip(group, opened, strict=True):
        lens, roll = args.focal_length or photo.focal_length, _roll(args, pipeline, source, photo)
        rgba, lens = upright(pipeline, photo.rgba, lens, roll)
        cutouts.append(rgba)
        lenses.append(lens)
    known = [(source.azimuth, source.elevation) for source in group]
    estimates = []
    with progress(len(opened), "photo", "cameras") as tick:
        for pair in zip(cutouts, known, strict=True):
            estimates.append(estimate_or_keep(pipeline, *pair, roll=0.0))
            tick()
    with progress(steps_at_most(estimates), "step", "together") as tick:
        _, cameras = find_cameras_together(pipeline, cutouts, estimates, lenses, tick)
    for source, camera in zip(group, cameras, strict=True):
        verdict = "" if camera.agrees else ": it hardly agrees with the others; does it show this object?"
        tell(
            f"{source.picture}: azimuth {camera.azimuth:.0f}, elevation {camera.elevation:.0f}, moved by "
            f"{camera.moved:.0f} degrees; {camera.together:.1f} dB with the others, {camera.alone:.1f} dB "
            f"alone{verdict}"
        )
    angles = [(camera.azimuth, camera.elevation) for camera in cameras]
    return partial(views_from, pipeline, cutouts, angles, lenses)


def _refine(args: argparse.Namespace, pipeline: Pipeline, gaussians: Gaussians, views: Views) -> Gaussians:
    """Refined, and told by how much, and at what price."""
    from sparsegen.detail import add_detail
    from sparsegen.refinement import refine_checked, steps_checked

    done = f"{'detail' if args.detail else 'refined'} at {views.cameras.width} pixels"
    steps = args.refine if args.detail else steps_checked(args.refine, views)
    with progress(steps, "step", done) as tick:
        if args.detail:
            symmetric = pipeline.model.symmetric
            refined, report = add_detail(gaussians, views, symmetric, args.refine, tick)
        else:
            refined, report = refine_checked(gaussians, views, args.refine, tick=tick)
    parts = [done + ": {:.1f} -> {:.1f} dB on what it saw".format(*report.seen)]
    if report.held_out:
        parts.append("{:.1f} -> {:.1f} dB on the last picture, held out in a trial".format(*report.held_out))
    if report.harmful:
        parts.append("which is worse, so it was left as it was")
    else:
        parts.append(f"all around {report.moved:.1f} dB from before")
    tell(f"  {'; '.join(parts)}")
    return refined


def _name(args: argparse.Namespace, sample: int) -> str:
    if args.steps > 1:
        return f"seed {args.seed + sample}"
    return f"guess {sample}" if sample else "one pass"


def _rank(
    args: argparse.Namespace, objects: list[Gaussians], views: Views | None
) -> tuple[list[Gaussians], list[str]]:
    """Samples, the best match to the pictures first, with their labels; told how much they differ."""
    from sparsegen import ranking

    if len(objects) == 1:
        return objects, []
    order, scores = list(range(len(objects))), []
    if views is not None:
        order, scores = ranking.rank(objects, views)
    labels = [f"{i}: {_name(args, order[i])}" for i in range(len(objects))]
    objects = [objects[i] for i in order]
    if views is not None:
        labels = [f"{label}, {score:.1f} dB" for label, score in zip(labels, scores, strict=True)]
        tell(f"  samples by their match to the picture: {'; '.join(labels)}")
    least, most = ranking.range_of_likeness(objects)
    alike = ": they hardly differ, the model is sure of what it does not see" if least > ranking.ALIKE else ""
    tell(f"  all around, any two samples are {least:.1f} to {most:.1f} dB alike{alike}")
    return objects, labels
