"""Draw what becomes of pictures that training never saw, each on the user's way: an opaque picture, cut
out, its camera estimated.

    python benchmarks/gallery.py PICTURES -o docs/gallery.png     a folder of pictures, or a table of them
    python benchmarks/gallery.py FILE.pack -o docs/gallery.png    a packed viewset, with the truth beside

Of a packed viewset it also prints how far off the camera was, and the PSNR of all other views: on the
user's way, and given the true camera and cut-out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.batches import Source, find_sources
from sparsegen.data.packed import Viewsets, load_packed
from sparsegen.data.viewpoints import INPUT_VIEW
from sparsegen.detail import add_detail
from sparsegen.evaluation.sheet import spread
from sparsegen.formats.cutout import is_cut_out, whole
from sparsegen.formats.images import contact_sheet, save_image
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.metrics import psnr
from sparsegen.models.camera_head import directions_to
from sparsegen.photos import Photo, as_large, full_size, open_photo
from sparsegen.pose import CameraEstimate, estimate_camera, view_from
from sparsegen.ranking import pictures_around
from sparsegen.smoothing import photograph
from sparsegen.tables import markdown_table
from sparsegen.views import Views

NOVEL_VIEWS = 4


@dataclass(frozen=True)
class Outcome:
    """A picture, what it became, and the camera that it was thought to be taken from."""

    photo: Photo
    gaussians: Gaussians
    views: Views
    camera: CameraEstimate

    def from_there(self, size: int) -> Float[Tensor, "3 s s"]:
        return _render(self.gaussians, self.views, size)[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", type=Path, help="folder of pictures, table of them, or packed viewset")
    add("-o", "--output", type=Path, default=Path("gallery.png"))
    add("--model", help="model folder (default: shipped weights)")
    add("--only", nargs="+", metavar="NAME", help="these objects of the viewset alone")
    add("--view", type=int, default=INPUT_VIEW, help=f"the input view (default: {INPUT_VIEW})")
    add("--background", type=float, default=1.0, help="gray level behind it (default: 1, white)")
    add("--size", type=int, default=128, help="pixels of each picture (default: 128)")
    add("--detail", action="store_true", help="objects with detail from their pictures")
    args = parser.parse_args()
    pipeline = Pipeline.from_pretrained(args.model)
    if args.source.suffix == ".pack":
        draw_viewset(pipeline, load_packed(args.source), args)
    else:
        draw_pictures(pipeline, args)


def generate(pipeline: Pipeline, source: Source, detail: bool = False) -> Outcome:
    """What `sparsegen generate PICTURE` does, with a mask or a box if there is one."""
    photo = open_photo(source.picture, mask=source.mask, model=pipeline.source, box=source.box)
    camera = estimate_camera(pipeline, photo.rgba)[0]
    angles = camera.azimuth, camera.elevation
    views = view_from(pipeline, photo.rgba, *angles, photo.focal_length)
    made = pipeline(views)[0]
    if detail:
        size = full_size([photo.rgba], views)
        views = view_from(pipeline, photo.rgba, *angles, photo.focal_length, size)
        made, _ = add_detail(made, views, pipeline.model.symmetric)
    return Outcome(photo, made, views, camera)


def draw_pictures(pipeline: Pipeline, args: argparse.Namespace) -> None:
    """One row a picture: itself if any had to be cut out, the cut-out, its object from there and around."""
    sources = find_sources([args.source])
    outcomes = [generate(pipeline, source, args.detail) for source in sources]
    cut_out = all(is_cut_out(found.photo.original) for found in outcomes)
    titles = ["input", "generated"] if cut_out else ["photograph", "input", "generated"]
    rows, labels = [], []
    for source, found in zip(sources, outcomes, strict=True):
        seen = as_large(found.views.images[0, 0], args.size)
        around = pictures_around(found.gaussians, 2 * NOVEL_VIEWS, args.size)
        original = [] if cut_out else [whole(found.photo.original, args.size)[0]]
        rows.append([*original, seen, found.from_there(args.size), *around])
        boxed = " in its box" if source.box else ""
        labels.append(f"{source.picture.stem}{boxed} {_words(found.camera)}")
    contact_sheet(rows, args.output, titles, labels)


def draw_viewset(pipeline: Pipeline, viewsets: Viewsets, args: argparse.Namespace) -> None:
    """One row an object: the input and its rendering from the estimated camera, then generated views beside
    true ones."""
    ids = [i for i, name in enumerate(viewsets.names) if args.only is None or name in args.only]
    targets = [view for view in range(viewsets.images.shape[1]) if view != args.view]
    shown = [targets.index(view) for view in spread(targets, NOVEL_VIEWS)]
    rows, labels, table = [], [], []
    for index, path in zip(ids, _opaque_pictures(viewsets, ids, args), strict=True):
        found = generate(pipeline, Source(path), args.detail)
        given = viewsets.views(torch.tensor([index]), torch.tensor([[args.view]]))
        truth = viewsets.views(torch.tensor([index]), torch.tensor([targets]))
        mine = _render(found.gaussians, truth)
        told = _render(pipeline(given)[0], truth)
        seen = as_large(found.views.images[0, 0], args.size)
        row = [seen, found.from_there(args.size)]
        for i in shown:
            pair = [as_large(views[i], args.size) for views in (mine, truth.images[0])]
            row.append(F.pad(torch.cat(pair, dim=-1), (8, 0), value=1.0))
        rows.append(row)
        labels.append(f"{viewsets.names[index]} {_words(found.camera)}")
        table.append([*_angles_off(found.camera, given), _decibels(mine, truth), _decibels(told, truth)])
    novel = [f"view {targets[i]}, generated and true" for i in shown]
    contact_sheet(rows, args.output, ["input", "generated", *novel], labels)
    _print_scores([viewsets.names[i] for i in ids], table)


def _opaque_pictures(viewsets: Viewsets, ids: list[int], args: argparse.Namespace) -> Iterator[Path]:
    """The input view of each object as a file without alpha."""
    with tempfile.TemporaryDirectory() as folder:
        for index in ids:
            rgba = torch.from_numpy(viewsets.images[index, args.view].copy()).permute(2, 0, 1) / 255
            path = Path(folder, "picture.png")
            save_image(path, rgba[:3] * rgba[3:] + args.background * (1 - rgba[3:]))
            yield path


@torch.no_grad()
def _render(gaussians: Gaussians, views: Views, size: int | None = None) -> Float[Tensor, "v 3 s s"]:
    """Pictures from the cameras of one object's views."""
    cameras = views.cameras[0]
    cameras = cameras if size is None else cameras.resized(size, size)
    return photograph(gaussians, cameras.to(gaussians.means.device))[0].clamp(0, 1).cpu()


def _angles_off(camera: CameraEstimate, given: Views) -> tuple[float, float]:
    """Degrees that azimuth and elevation are off."""
    azimuth, elevation = (float(x) for x in directions_to(given.cameras.centers[0, 0]))
    return camera.away_from(azimuth, elevation)


def _decibels(pictures: Float[Tensor, "v 3 h w"], truth: Views) -> float:
    return psnr(pictures, truth.images[0]).mean().item()


def _words(camera: CameraEstimate) -> str:
    return f"({camera.azimuth:.0f}, {camera.elevation:.0f})"


def _print_scores(names: list[str], table: list[list[float]]) -> None:
    titles = ["picture", "azimuth off", "elevation off", "dB, user's way", "dB, camera given"]
    rows = [
        [name, *(f"{x:.0f}" for x in row[:2]), *(f"{x:.1f}" for x in row[2:])]
        for name, row in zip(names, table, strict=True)
    ]
    means = torch.tensor(table, dtype=torch.float64)
    middle = [f"{x:.0f}" for x in means[:, :2].median(dim=0).values.tolist()]
    rows.append(["median, mean", *middle, *(f"{x:.1f}" for x in means[:, 2:].mean(dim=0).tolist())])
    print(markdown_table(titles, rows))


if __name__ == "__main__":
    main()
