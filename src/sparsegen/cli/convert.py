"""`sparsegen convert`: the same Gaussians in another file format, or their surface as a mesh."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "convert Gaussian files (PLY, compressed PLY, splat, SPZ, glTF), or make a mesh (GLB, OBJ)"

_UPS = ("z", "y", "-y")
_EXAMPLES = """\
examples:
  sparsegen convert car.ply car.glb             Gaussians in glTF
  sparsegen convert car.ply car.glb --mesh      triangles in glTF
  sparsegen convert car.ply car.obj             triangles: OBJ holds nothing else
  sparsegen convert car.ply car.glb --mesh --texture 1024     colors in a picture; OBJ: car_texture.png
  sparsegen convert car.ply car.spz --spz-version 4
  sparsegen convert scan.ply scan.compressed.ply --from-up=-y

formats of Gaussians, by suffix (the axis that points up in the file):
  .ply (z)  .compressed.ply (-y)  .splat (-y)  .spz (y)  .glb (y)  .gltf (y)
of meshes: .obj (y), and with --mesh .glb (y) and .gltf (y)

Viewers made for photographed scenes show a .ply upside down: write theirs with --to-up=-y.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("source", type=Path, metavar="A", help="Gaussian file; its content tells the format")
    add("target", type=Path, metavar="B", help="file to write; its suffix tells the format")
    add("--from-up", choices=_UPS, help="axis that points up in A (default: its format's)")
    add("--to-up", choices=_UPS, help="axis that shall point up in B (default: its format's)")
    add(
        "--spz-version",
        type=int,
        choices=(3, 4),
        help="of .spz: 3 (default) or 4, the newest",
    )
    add("--mesh", action="store_true", help="write a colored triangle mesh; always so for .obj")
    add("--resolution", type=int, metavar="N", help="steps along a mesh's longest side (default: 128)")
    add("--texture", type=int, metavar="N", help="colors of the mesh in a picture of N x N (default: none)")


def run(args: argparse.Namespace) -> None:
    from sparsegen.errors import InputError

    if args.spz_version is not None and args.target.suffix.lower() != ".spz":
        raise InputError(f"--spz-version {args.spz_version}: {args.target} is no .spz file; leave it out")
    if args.mesh or args.target.suffix.lower() == ".obj":
        _write_mesh(args)
    else:
        _write_gaussians(args)


def _write_gaussians(args: argparse.Namespace) -> None:
    from sparsegen.cli._options import given
    from sparsegen.errors import InputError
    from sparsegen.formats.gaussian_files import format_of_suffix, load_gaussians, save_gaussians

    format_of_suffix(args.target)  # a wrong name is told before anything is read
    if options := given(args, "resolution", "texture"):
        raise InputError(f"{options}: only for meshes; add --mesh, or leave it out")
    gaussians = load_gaussians(args.source, args.from_up)
    save_gaussians(args.target, gaussians, args.to_up, args.spz_version or 3)
    print(f"{args.target}: {gaussians.count:,} Gaussians, {args.target.stat().st_size:,} bytes")


def _write_mesh(args: argparse.Namespace) -> None:
    from sparsegen.cli._progress import stages
    from sparsegen.errors import InputError
    from sparsegen.formats.gaussian_files import load_gaussians
    from sparsegen.formats.meshes import check_mesh_suffix, save_mesh
    from sparsegen.meshing import STAGES, check_resolution, extract_mesh
    from sparsegen.meshing.texture import check_texture

    check_mesh_suffix(args.target)
    resolution = 128 if args.resolution is None else args.resolution
    check_resolution(resolution)
    if args.texture is not None:
        check_texture(args.texture)
    if args.to_up not in (None, "y"):
        raise InputError(
            f"--to-up={args.to_up}: meshes are written with y up, as their formats ask; leave it out"
        )
    gaussians = load_gaussians(args.source, args.from_up)
    with stages(len(STAGES) - (args.texture is None)) as begin:
        mesh = extract_mesh(gaussians, resolution, texture=args.texture, begin=begin)
    save_mesh(args.target, mesh)
    size = args.target.stat().st_size
    print(f"{args.target}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} triangles, {size:,} bytes")
