"""`sparsegen view`: a Gaussian file in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "look at a Gaussian file in the browser, or make a page of it that works offline"

_EXAMPLES = """\
examples:
  sparsegen view car.ply                 opens the browser
  sparsegen view car.spz -o car.html     one HTML file, to keep or send; it needs no connection
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("file", type=Path, metavar="FILE", help="Gaussian file of any format")
    parser.add_argument("-o", "--output", type=Path, metavar="HTML", help="write the page, open no browser")


def run(args: argparse.Namespace) -> None:
    import tempfile
    import webbrowser

    from sparsegen.errors import InputError
    from sparsegen.formats.files import write_bytes
    from sparsegen.formats.gaussian_files import load_gaussians
    from sparsegen.outputs import stem_of
    from sparsegen.viewer import viewer_html

    if args.output is not None and args.output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{args.output}: expected a name that ends in .html")
    page = viewer_html(load_gaussians(args.file), args.file.name).encode()
    output = args.output
    if output is None:
        # It must outlive this command, for the browser reads it in its own time.
        output = Path(tempfile.mkdtemp(prefix="sparsegen-")) / f"{stem_of(args.file)}.html"
    write_bytes(output, page)
    print(output)
    if args.output is None and not webbrowser.open(output.resolve().as_uri()):
        raise InputError(f"{output}: no browser was found here; open this file in one")
