"""`sparsegen export`: the network as a file for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write the network as an ONNX file, for runtimes without PyTorch"

_EPILOG = """\
The file takes `pictures` (views, 3, size, size) in [0, 1] over white, `viewmats` (views, 4, 4), world to
camera with OpenCV axes, and `Ks` (views, 3, 3) in pixels; it gives `means`, `quats` (wxyz), `scales`,
`opacities` and `colors` of the Gaussians. A model that needs noise placeholders takes three further views:
pictures of pure noise, 0.5 + 0.5 N(0, 1), and their cameras.

Corrections draw the object and compare it with its pictures again and again. PyTorch has fast code for that;
other runtimes do it in plain arrays, a hundred times slower. --uncorrected leaves them out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("model", nargs="?", type=Path, help="model folder, or the reference's model.pth (default: shipped)")
    add("output", type=Path, metavar="FILE", help="file to write, like model.onnx")
    add("--format", default="onnx", choices=("onnx",), help="(default: onnx)")
    add("--views", type=int, default=1, metavar="N", help="clean views that the file takes (default: 1)")
    add("--uncorrected", action="store_true", help="without corrections: far faster, a little less sharp")


def run(args: argparse.Namespace) -> None:
    from sparsegen.errors import InputError
    from sparsegen.export import export_onnx
    from sparsegen.generation import load_network

    if args.output.suffix.lower() != ".onnx":  # with the output left out, this is the model's own file
        raise InputError(f"{args.output}: expected a file to write whose name ends in .onnx")
    layers = "uncorrected" if args.uncorrected else "last"
    difference = export_onnx(load_network(args.model), args.output, args.views, layers)
    size = args.output.stat().st_size / 1e6
    checked = "not checked: ONNX Runtime is not installed"
    if difference is not None:
        checked = f"within {difference:.1e} of PyTorch's Gaussians in ONNX Runtime"
    print(f"{args.output}: {size:.1f} MB, {checked}")
