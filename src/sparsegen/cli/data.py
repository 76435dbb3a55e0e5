"""`sparsegen data`: make, convert and look at datasets of posed pictures."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

SUMMARY = "render, pack and look at datasets of posed pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="data_verb", metavar="VERB", required=True)
    render = verbs.add_parser("render", help="render mesh files (GLB, OBJ, PLY, STL, DAE)")
    render.add_argument("meshes", nargs="+", type=Path, metavar="MESH", help="mesh files and folders of them")
    render.add_argument("out", type=Path, metavar="OUT", help="folder to write, or file with --pack")
    render.add_argument(
        "--up", choices=("auto", "y", "z"), default="auto", help="axis that points up (default: the format's)"
    )
    render.add_argument(
        "--variants",
        type=int,
        metavar="N",
        help="N of each mesh: itself, and others stretched, tapered, repainted and lit in other ways",
    )
    render.add_argument(
        "--seed", type=int, default=0, help="seed of the random cameras and variants (default: 0)"
    )
    _add_rendering(render)

    cars = verbs.add_parser("cars", help="render procedural cars")
    cars.add_argument("out", type=Path, metavar="OUT", help="folder to write, or file with --pack")
    cars.add_argument("-n", "--count", type=int, required=True, metavar="N", help="number of cars")
    cars.add_argument("--seed", type=int, default=0, help="another seed is another family (default: 0)")
    cars.add_argument(
        "--split",
        choices=("train", "val", "test"),
        default="train",
        help="no car is in two splits (default: train)",
    )
    cars.add_argument(
        "--kind",
        choices=("everyday", "racing", "unusual", "heavy", "varied"),
        default="everyday",
        help="racing: low and wide, with liveries, lettering and wings; unusual: beetles, roadsters, stock "
        "cars, lorries, single-seaters with open wheels; heavy: cab-over lorries, fire engines, buses, "
        "coaches, minibuses; varied: everyday bodies with other faces and surfaces; all but everyday ones "
        "each in light of its own (default: everyday)",
    )
    _add_rendering(cars)

    pack = verbs.add_parser("pack", help="pack datasets into one file")
    pack.add_argument(
        "datasets",
        nargs="+",
        type=Path,
        metavar="DATASET",
        help="folders in the SRN, NeRF or CO3D layout, and packed files",
    )
    pack.add_argument("out", type=Path, metavar="OUT")

    depth = verbs.add_parser("depth", help="true depth of a dataset's views, for `sparsegen eval --depth`")
    depth.add_argument(
        "dataset", type=Path, help="packed file or folder, rendered by `data cars` or `data render`"
    )
    depth.add_argument("out", type=Path, metavar="OUT")
    depth.add_argument(
        "--meshes", nargs="+", type=Path, metavar="MESH", help="what it was rendered from, if not cars"
    )
    depth.add_argument("--up", choices=("auto", "y", "z"), default="auto", help="as given to `data render`")

    exemplars = verbs.add_parser(
        "exemplars", help="put objects beside a model that give `generate --samples` something to differ by"
    )
    exemplars.add_argument("dataset", type=Path, help="packed file or folder; what the model was trained on")
    exemplars.add_argument("model", type=Path, help="the model's folder")
    exemplars.add_argument("-n", "--objects", type=int, default=128, help="how many (default: 128)")
    exemplars.add_argument("--views", type=int, default=8, help="views of each (default: 8)")

    sheet = verbs.add_parser("sheet", help="one picture of many objects")
    sheet.add_argument("dataset", type=Path, help="packed file or folder")
    sheet.add_argument("out", type=Path, metavar="OUT.png")
    sheet.add_argument("--objects", type=int, help="rows (default: 10)")
    sheet.add_argument("--views", type=int, help="columns (default: 8)")
    sheet.add_argument(
        "--gallery",
        type=int,
        metavar="COLUMNS",
        help="instead one view of each of --objects (default: all), so many in a row",
    )


def _add_rendering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--views", type=int, help="pictures of each object (default: 16 random, 25 on the spiral)"
    )
    parser.add_argument(
        "--spiral",
        action=argparse.BooleanOptionalAction,
        help="cameras on the test spiral, the same for all (default: for val and test)",
    )
    parser.add_argument("--size", type=int, default=128, help="pixels of a picture's side (default: 128)")
    parser.add_argument(
        "--distance",
        type=float,
        nargs="+",
        metavar="D",
        help="how far away cameras stand, in sizes of the object, with longer lenses the farther; two, with "
        "--pack, for random views anywhere between (default: 1.3; random views of all but everyday cars: "
        "1.1 2.6, so these need --pack or one distance)",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)"
    )
    parser.add_argument("--pack", action="store_true", help="write one packed file instead of a folder")


def run(args: argparse.Namespace) -> None:
    verbs = {"render": _render, "cars": _cars, "pack": _pack, "depth": _depth, "sheet": _sheet}
    (verbs | {"exemplars": _exemplars})[args.data_verb](args)


def _render(args: argparse.Namespace) -> None:
    import zlib

    import numpy as np

    from sparsegen.cameras import RADIUS
    from sparsegen.data.meshes import find_meshes
    from sparsegen.data.variants import variants
    from sparsegen.data.viewpoints import random_views, spiral_views
    from sparsegen.errors import InputError

    _check_counts(args, "views", "size", "jobs", "variants")
    if args.seed < 0:
        raise InputError(f"--seed: expected an integer of at least 0, found {args.seed}")
    meshes = find_meshes(args.meshes, args.up)
    subjects = variants(meshes, args.variants, args.seed) if args.variants else meshes
    views, distances = args.views or (25 if args.spiral else 16), _distances(args) or (RADIUS, RADIUS)
    if args.spiral:
        cameras = [spiral_views(views, args.size, distances[0])] * len(subjects)
    else:
        # Seeded by name, so that a mesh keeps its cameras when others are added.
        rngs = [np.random.default_rng([args.seed, zlib.crc32(s.name.encode())]) for s in subjects]
        cameras = [random_views(views, rng, args.size, distances) for rng in rngs]
    _render_to(args, subjects, cameras, args.out)


def _cars(args: argparse.Namespace) -> None:
    from sparsegen.data.cars import car_cameras, cars

    _check_counts(args, "views", "size", "jobs")
    subjects = cars(args.count, args.seed, args.split, args.kind)
    spiral = args.split != "train" if args.spiral is None else args.spiral
    views, distances = args.views or (25 if spiral else 16), _distances(args)
    cameras = car_cameras(subjects, views, args.size, spiral, distances)
    _render_to(args, subjects, cameras, args.out if args.pack else args.out / args.split)


def _distances(args: argparse.Namespace) -> tuple[float, float] | None:
    """The nearest and the farthest that was asked for."""
    from sparsegen.errors import InputError

    if args.distance is None:
        return None
    if len(args.distance) > 2 or not all(0.6 <= distance < 1000 for distance in args.distance):
        found = " ".join(f"{distance:g}" for distance in args.distance)
        raise InputError(f"--distance: expected one or two numbers from 0.6 to 1000, found {found}")
    return min(args.distance), max(args.distance)


def _render_to(args: argparse.Namespace, subjects: list, cameras: list, out: Path) -> None:
    from sparsegen.data.rendering import render_folder, render_packed

    (render_packed if args.pack else render_folder)(subjects, cameras, out, args.jobs)
    print(f"{out}: {len(subjects)} objects with {len(cameras[0])} views each")


def _pack(args: argparse.Namespace) -> None:
    from itertools import chain

    from sparsegen.data.loading import iterate_viewsets
    from sparsegen.data.packed import write_packed

    every = [iterate_viewsets(path) for path in args.datasets]
    names = [name for found, _ in every for name in found]
    write_packed(names, chain.from_iterable(viewsets for _, viewsets in every), args.out)
    print(f"{args.out}: {len(names)} objects")


def _depth(args: argparse.Namespace) -> None:
    from sparsegen.data.cars import cars_named
    from sparsegen.data.depths import render_dataset, save_depths
    from sparsegen.data.loading import load_viewsets
    from sparsegen.data.meshes import find_meshes
    from sparsegen.errors import InputError
    from sparsegen.formats.files import make_folder

    viewsets = load_viewsets(args.dataset)
    subjects = find_meshes(args.meshes, args.up) if args.meshes else cars_named(viewsets.names)
    make_folder(args.out.parent)  # nobody waits for what cannot be written
    if args.out.is_dir():
        raise InputError(f"{args.out}: this is a folder, expected the name of a file to write")
    save_depths(render_dataset(viewsets, subjects), viewsets.names, args.out)
    print(f"{args.out}: {len(viewsets)} objects")


def _exemplars(args: argparse.Namespace) -> None:
    from sparsegen.data.loading import load_viewsets
    from sparsegen.data.packed import Viewsets
    from sparsegen.errors import InputError
    from sparsegen.exemplars import save_exemplars
    from sparsegen.models.pretrained import load_pretrained

    _check_counts(args, "objects", "views")
    size = load_pretrained(args.model).config.image_size
    data = load_viewsets(args.dataset)
    if not data.has_alpha:
        raise InputError(f"{args.dataset}: its pictures have no alpha, which exemplars need")
    if (data.cameras.width, data.cameras.height) != (size, size):
        found = f"{data.cameras.width} x {data.cameras.height}"
        raise InputError(
            f"{args.dataset}: pictures of {found} pixels, but {args.model} takes {size} x {size}"
        )
    objects, views = slice(args.objects), slice(args.views)
    chosen = Viewsets(
        data.images[objects, views], data.cameras[objects, views], data.names[objects], data.has_alpha
    )
    save_exemplars(chosen, args.model)
    print(f"{args.model / 'exemplars'}: {len(chosen)} objects with {chosen.images.shape[1]} views each")


def _sheet(args: argparse.Namespace) -> None:
    from sparsegen.data.loading import load_viewsets
    from sparsegen.data.sheet import dataset_gallery, dataset_sheet
    from sparsegen.errors import InputError

    _check_counts(args, "objects", "views", "gallery")
    if args.gallery and args.views:
        raise InputError("--views: not with --gallery, which shows one view of each object; leave one out")
    viewsets = load_viewsets(args.dataset)
    if args.gallery:
        dataset_gallery(viewsets, args.out, args.objects or len(viewsets), args.gallery)
    else:
        dataset_sheet(viewsets, args.out, args.objects or 10, args.views or 8)
    print(args.out)


def _check_counts(args: argparse.Namespace, *options: str) -> None:
    from sparsegen.errors import InputError

    for option in options:
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f"--{option}: expected at least 1, found {value}")
