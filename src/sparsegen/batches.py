"""What a person names on the command line as pictures: files, folders, patterns and tables."""

from __future__ import annotations

import csv
import glob
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsegen.box import Box
from sparsegen.errors import InputError
from sparsegen.formats.files import check_readable
from sparsegen.formats.images import PICTURE_SUFFIXES
from sparsegen.outputs import SHEET_SUFFIX

_COLUMNS = ("picture", "mask", "box", "azimuth", "elevation")


@dataclass(frozen=True)
class Source:
    """A picture file, and what is known of it: its mask, a box around its object, its camera's angles in
    degrees."""

    picture: Path
    mask: Path | None = None
    box: Box | None = None
    azimuth: float | None = None
    elevation: float | None = None


def find_sources(arguments: Sequence[Path]) -> list[Source]:
    """The pictures that files, folders, patterns (`*.png`) and tables (`.csv`) stand for, in their order.

    A folder stands for the pictures in it, without those of its folders. A picture that is named twice
    counts once. Files need not exist: whoever reads them says so. Raises `InputError` for a folder or a
    pattern without pictures, or a table that cannot be understood.
    """
    sources: dict[Source, None] = {}
    for argument in arguments:
        for source in _expand(argument):
            sources.setdefault(source)
    return list(sources)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its stem, and where that is not enough its folders, its suffix, a number.

    >>> unique_names([Path("a/car.png"), Path("b/car.png"), Path("van.png"), Path("van.png")])
    ['a_car', 'b_car', 'van', 'van_2']
    """
    names = [path.stem for path in paths]
    if not (twice := _repeated(names)):
        return names
    folders = [Path(os.path.abspath(path)).parent for path in paths]
    shared = Path(os.path.commonpath(folders)) if len({f.drive for f in folders}) == 1 else Path()
    for i, (path, folder) in enumerate(zip(paths, folders, strict=True)):
        if path.stem.casefold() in twice:
            names[i] = "_".join([*folder.relative_to(shared).parts, path.stem])
    files = {(name.casefold(), path.suffix) for name, path in zip(names, paths, strict=True)}
    twice = _repeated([name for name, _ in files])  # one file with several boxes is told apart by numbers
    for i, path in enumerate(paths):
        if names[i].casefold() in twice:
            names[i] += path.suffix.replace(".", "_")
    return _numbered(names)


def _repeated(names: Sequence[str]) -> set[str]:
    """Names that occur twice, in lower case: some disks do not tell Car from car."""
    counts = Counter(name.casefold() for name in names)
    return {name for name, count in counts.items() if count > 1}


def _numbered(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    result = []
    for name in names:
        number, unique = 2, name
        while unique.casefold() in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique.casefold())
        result.append(unique)
    return result


def _expand(argument: Path) -> list[Source]:
    if argument.is_dir():
        found = _pictures_in(argument)
        if not found:
            raise InputError(f"{argument}: no pictures in this folder; name a folder that holds some")
        return [Source(path) for path in found]
    if argument.suffix.lower() == ".csv":
        return read_table(argument)
    if not argument.exists() and any(c in str(argument) for c in "*?["):
        found = sorted(Path(p) for p in glob.glob(str(argument), recursive=True) if os.path.isfile(p))
        if not found:
            raise InputError(f"{argument}: no file matches this pattern; check it")
        return [Source(path) for path in found]
    return [Source(argument)]


def _pictures_in(folder: Path) -> list[Path]:
    """Pictures, but no sheet of views that stands beside its picture: an earlier run has drawn it."""
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    sheets = {f"{picture.stem}{SHEET_SUFFIX}" for picture in pictures}
    return [picture for picture in pictures if picture.name not in sheets]


def read_table(path: Path) -> list[Source]:
    """The rows of a CSV file whose first line names its columns: picture, and mask, box, azimuth,
    elevation.

    Only `picture` must be there and filled in; files are relative to the table's folder. Raises
    `InputError`.
    """
    try:
        text = check_readable(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; save the table as CSV in UTF-8") from None
    try:
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True, strict=True)
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_columns(path, columns)
        reader.fieldnames = columns
        sources = [_source(path, reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}: not a table of comma-separated values ({error}); write it again") from None
    if not sources:
        raise InputError(f"{path}: no rows below its first line; add a line for each picture")
    return sources


def _check_columns(path: Path, columns: list[str]) -> None:
    unknown = [name for name in columns if name not in _COLUMNS]
    if "picture" not in columns or unknown or len(set(columns)) < len(columns):
        raise InputError(
            f"{path}: expected a first line of column names: picture, and any of mask, box, azimuth, "
            f"elevation; found {', '.join(columns)!r}"
        )


def _source(path: Path, line: int, row: dict[str, str | None]) -> Source:
    if None in row or not (picture := (row["picture"] or "").strip()):
        found = "more cells than columns" if None in row else "no picture"
        raise InputError(f"{path}, line {line}: {found}; give one picture in each line")
    mask = (row.get("mask") or "").strip()
    box = (row.get("box") or "").strip()
    if mask and box:
        raise InputError(f"{path}, line {line}: a mask needs no box; leave one of the two out")
    angles = [_angle(path, line, name, row.get(name)) for name in ("azimuth", "elevation")]
    return Source(
        path.parent / picture,
        path.parent / mask if mask else None,
        Box.parse(box, f"{path}, line {line}: box") if box else None,
        *angles,
    )


def _angle(path: Path, line: int, name: str, text: str | None) -> float | None:
    if not (text := (text or "").strip()):
        return None
    try:
        angle = float(text)
    except ValueError:
        angle = math.nan
    if not math.isfinite(angle):
        raise InputError(f"{path}, line {line}: {name}: expected an angle in degrees, found {text!r}")
    if name == "elevation" and abs(angle) > 90:
        raise InputError(f"{path}, line {line}: elevation: expected -90 to 90 degrees, found {text!r}")
    return angle
