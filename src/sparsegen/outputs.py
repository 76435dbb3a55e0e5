"""Where the files of generated objects go: planned, and found writable, before the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsegen.errors import InputError
from sparsegen.formats.files import make_folder
from sparsegen.formats.gaussian_files import FORMATS
from sparsegen.formats.images import PICTURE_SUFFIXES

SHEET_SUFFIX = "_views.png"

# Suffixes that a person may ask for and that are no file of Gaussians: not taken for a folder's name.
_OTHERS = PICTURE_SUFFIXES | {".obj", ".stl", ".fbx", ".usd", ".usdz", ".dae", ".mp4", ".webm", ".ksplat"}


@dataclass(frozen=True)
class Outputs:
    """The files of one input: Gaussians and a turntable for each sample, and a sheet of pictures.

    There are no `videos` where none were asked for.
    """

    gaussians: list[Path]
    videos: list[Path]
    sheet: Path

    @property
    def all(self) -> list[Path]:
        return [*self.gaussians, *self.videos, self.sheet]


def stem_of(path: Path) -> str:
    """A file's name without the suffix of its format: "car" of car.compressed.ply."""
    for known in FORMATS:
        if path.name.lower().endswith(known.suffix):
            return path.name[: -len(known.suffix)]
    return path.stem


def plan_outputs(
    output: Path,
    names: Sequence[str],
    samples: int = 1,
    suffix: str | None = None,
    video: bool = True,
    inputs: Sequence[Path] = (),
) -> list[Outputs]:
    """The files for each of the names. `output` is a folder, or for one name a file of Gaussians.

    `suffix` is that of Gaussian files in a folder, `.ply` where none is asked for. Folders are made. Raises
    `InputError` if a file cannot be written, or would overwrite an input.
    """
    asked = _file_suffix(output)
    if asked is None:
        folder, suffix = output, suffix or ".ply"
    else:
        if suffix not in (None, asked):
            raise InputError(f"-o {output}: ends in {asked}, but --format asks for {suffix}; leave one out")
        if len(names) != 1:
            raise InputError(
                f"-o {output}: is one file, but there are {len(names)} objects to write; name a folder"
            )
        folder, suffix, names = output.parent, output.name[-len(asked) :], [output.name[: -len(asked)]]
    make_folder(folder)
    planned = [_outputs(folder, name, samples, suffix, video) for name in names]
    read = {path.resolve() for path in inputs}
    for path in (path for outputs in planned for path in outputs.all):
        if path.resolve() in read:
            raise InputError(
                f"{path}: is a picture to read and would be overwritten; give another folder by -o"
            )
        if path.is_dir():
            raise InputError(f"{path}: cannot be written, a folder has this name; give another one by -o")
    return planned


def _file_suffix(output: Path) -> str | None:
    """The suffix of a Gaussian file, or None if `output` is to be a folder."""
    name = output.name.lower()
    if output.is_dir():
        return None
    for known in FORMATS:
        if name.endswith(known.suffix) and len(name) > len(known.suffix):
            return known.suffix
    if output.suffix.lower() in _OTHERS:
        known = ", ".join(f.suffix for f in FORMATS)
        raise InputError(f"-o {output}: no file of Gaussians; name a folder, or a file that ends in {known}")
    return None


def _outputs(folder: Path, name: str, samples: int, suffix: str, video: bool) -> Outputs:
    stems = [name] if samples == 1 else [f"{name}_{i}" for i in range(samples)]
    return Outputs(
        [folder / f"{stem}{suffix}" for stem in stems],
        [folder / f"{stem}.mp4" for stem in stems] if video else [],
        folder / f"{name}{SHEET_SUFFIX}",
    )
