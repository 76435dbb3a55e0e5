"""Take models out of Sweet Home 3D's furniture libraries, to be rendered as objects that training never saw.

The libraries come with Debian's package `sweethome3d-furniture`, under `usr/share/sweethome3d/furniture`.

    python benchmarks/sweethome_models.py LIBRARY.sh3f ... -o models --category Vehicles --only van suv
    sparsegen data render models everyday.pack --spiral --pack
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Model:
    """An entry of a library's catalog; `folder` in the library holds its mesh, materials and textures."""

    name: str
    category: str
    creator: str
    folder: PurePosixPath


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("libraries", nargs="+", type=Path, metavar="LIBRARY.sh3f")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--category", help="models of this category alone")
    parser.add_argument("--only", nargs="+", metavar="FOLDER", help="models in folders of these names alone")
    args = parser.parse_args()
    for path in args.libraries:
        with zipfile.ZipFile(path) as library:
            for model in catalog(library):
                if args.category not in (None, model.category):
                    continue
                if args.only and model.folder.name not in args.only:
                    continue
                extract(library, model, args.output)
                print(f"{model.folder.name}: {model.name}, by {model.creator} ({path.stem})")


def catalog(library: zipfile.ZipFile) -> Iterator[Model]:
    """The models that the library's Java properties name, as `name#3=Van`."""
    [properties] = (name for name in library.namelist() if name.endswith("FurnitureCatalog.properties"))
    entries: dict[str, dict[str, str]] = {}
    for line in library.read(properties).decode("unicode_escape").splitlines():
        if found := re.fullmatch(r"(\w+)#(\d+)\s*=\s*(.*)", line):
            key, number, value = found.groups()
            entries.setdefault(number, {})[key] = value.strip()
    for entry in entries.values():
        folder = PurePosixPath(entry["model"].lstrip("/")).parent
        yield Model(entry["name"], entry["category"], entry.get("creator", "unknown"), folder)


def extract(library: zipfile.ZipFile, model: Model, output: Path) -> None:
    """The files beside a model's mesh, in a folder of its own."""
    target = output / model.folder.name
    target.mkdir(parents=True, exist_ok=True)
    for name in library.namelist():
        path = PurePosixPath(name)
        if path.parent == model.folder and not name.endswith("/"):
            (target / path.name).write_bytes(library.read(name))


if __name__ == "__main__":
    main()
