"""Objects that lend their hidden sides, so that several samples from one picture really differ.

A network that is trained with squared errors hardly listens to noise: from pure noise it predicts the mean
of what the hidden side could be. So a sample does not begin there, but late on the flow's way from noise to
a picture of another object's far side: SDEdit's idea (Meng et al., 2022), with pictures of training objects
that look like this one where it is seen. Their paint is changed to this one's.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sparsegen import flow
from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.formats.files import check_readable, write_bytes
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.views import Views

FOLDER = "exemplars"
_PICTURES, _CAMERAS = "pictures.webp", "cameras.json"
_QUALITY = 85
_LONGEST = 16383  # pixels of a WebP picture's side

# The times on the flow's way that a sample visits. A later (smaller) beginning makes samples differ more from
# each other, and from the picture; the last is late, because colors of the noised view are mixed in.
TIMES = (0.25, 0.02)
# A sample is drawn among so many of the exemplars that look most like the object.
POOL = 6
# Colors count as the same paint while they are this close, in RGB.
_SAME_PAINT = 0.2
_MEAN_SHIFTS = 8


def save_exemplars(viewsets: Viewsets, model_folder: Path) -> None:
    """Write all pictures as one, and their cameras, into a model's folder."""
    n, v, h, w, _ = viewsets.images.shape
    rows, columns = _grid(n, v, h, w)
    if max(rows * h, columns * v * w) > _LONGEST:
        raise InputError(
            f"{n} exemplars of {v} views of {w} x {h} pixels do not fit into a WebP picture: take fewer"
        )
    tiles = np.zeros((rows * columns, v, h, w, 4), np.uint8)
    tiles[:n] = viewsets.images
    tiles = tiles.reshape(rows, columns, v, h, w, 4).transpose(0, 3, 1, 2, 4, 5)
    buffer = io.BytesIO()
    atlas = Image.fromarray(tiles.reshape(rows * h, columns * v * w, 4))
    atlas.save(buffer, "WEBP", quality=_QUALITY, method=6)
    cameras = viewsets.cameras
    known = {
        "size": [w, h],
        "viewmats": _rounded(cameras.viewmats[..., :3, :]),
        "Ks": _rounded(cameras.Ks[..., :2, :]),
    }
    write_bytes(model_folder / FOLDER / _PICTURES, buffer.getvalue())
    write_bytes(model_folder / FOLDER / _CAMERAS, json.dumps(known, separators=(",", ":")).encode())


def _grid(objects: int, views: int, height: int, width: int) -> tuple[int, int]:
    """Rows, and objects in each, of a picture of all exemplars that is nearly square."""
    columns = max(1, round(math.sqrt(objects * height / (views * width))))
    return math.ceil(objects / columns), columns


class Exemplars:
    """The exemplars beside a model, read when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: tuple[Views, Match] | None = None

    @staticmethod
    def beside(model_folder: Path) -> Exemplars | None:
        """Those of a model's folder, None if it has none."""
        folder = model_folder / FOLDER
        return Exemplars(folder) if folder.is_dir() else None

    @cached_property
    def viewsets(self) -> Viewsets:
        """Raises `InputError` if they cannot be read."""
        return _load(self.folder)

    def match(self, views: Views, look: Callable[[], Gaussians]) -> Match:
        """`match` with the object that `look` makes of `views`; the last one is remembered, for all samples
        of one object need the same."""
        last = self._last
        if last is None or not _same(last[0], views):
            last = views, match(self.viewsets, views, look())
            self._last = last
        return last[1]


def _same(one: Views, other: Views) -> bool:
    pairs = (
        (one.images, other.images),
        (one.cameras.viewmats, other.cameras.viewmats),
        (one.cameras.Ks, other.cameras.Ks),
    )
    return one is other or all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _load(folder: Path) -> Viewsets:
    try:
        known = json.loads(check_readable(folder / _CAMERAS).read_text())
        width, height = known["size"]
        viewmats, ks = torch.tensor(known["viewmats"]), torch.tensor(known["Ks"])
        viewmats = torch.cat([viewmats, torch.tensor([0.0, 0, 0, 1]).expand_as(viewmats[..., :1, :])], dim=-2)
        ks = torch.cat([ks, torch.tensor([0.0, 0, 1]).expand_as(ks[..., :1, :])], dim=-2)
        cameras = Cameras(viewmats, ks, width, height)
        with Image.open(check_readable(folder / _PICTURES)) as atlas:
            pixels = np.asarray(atlas.convert("RGBA"))
        n, v = cameras.batch_shape
        rows, columns = _grid(n, v, height, width)
        tiles = pixels.reshape(rows, height, columns, v, width, 4).transpose(0, 2, 3, 1, 4, 5)
        images = tiles.reshape(rows * columns, v, height, width, 4)[:n]
        return Viewsets(images, cameras, [f"exemplar {i}" for i in range(n)])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{folder}: not the exemplars of a model ({error}); write them with `sparsegen data exemplars`"
        ) from None


class Guide(NamedTuple):
    """Where a sample begins: a noised picture of the hidden side, (1, 1), at the first of `times`."""

    noised: Views
    times: tuple[float, ...]


@dataclass(frozen=True)
class Match:
    """Exemplars beside one object, as one pass of the network sees it: what all its guides share."""

    exemplars: Viewsets
    difference: Float[Tensor, "n"]  # to the object in the view from nearest to its pictures, once repainted
    hidden: Int[Tensor, "n"]  # each exemplar's view from farthest from the object's pictures
    paint: Float[Tensor, "n 3 1 1"]  # the object's, from where each exemplar is seen
    their_paint: Float[Tensor, "n 3 1 1"]


@torch.no_grad()
def match(exemplars: Viewsets, views: Views, seen: Gaussians) -> Match:
    """How like each exemplar is to the object of `views` (1, V), which one pass made into `seen`."""
    directions = _directions(exemplars.cameras)  # (n, v, 3)
    nearness = (directions @ _directions(views.cameras[0]).mT).amax(-1)  # (n, v), to any of the views
    shown, hidden = nearness.argmax(1), nearness.argmin(1)
    theirs = _halved(exemplars.views(torch.arange(len(exemplars)), shown[:, None]))
    ours = render(seen.to("cpu"), theirs.cameras[:, 0], depth=False)
    assert theirs.alphas is not None
    paint = _paint(_uncovered(ours.rgb, ours.alpha), ours.alpha)
    their_paint = _paint(_uncovered(theirs.images[:, 0], theirs.alphas[:, 0]), theirs.alphas[:, 0])
    difference = (_repainted(theirs, their_paint, paint) - ours.rgb).square().mean(dim=(1, 2, 3))
    return Match(exemplars, difference, hidden, paint, their_paint)


def guide(found: Match, seed: int, index: int) -> Guide:
    """The `index`-th guide for completing the object.

    Guides of one seed come from different exemplars, in an order that the seed says, those most like the
    object on the side that the views show first; when all have served, with other noise.
    """
    exemplars = found.exemplars
    chosen = _order(found.difference, seed)[index % len(exemplars)][None]
    far = found.hidden[chosen][:, None]
    pictures = exemplars.views(chosen, far)
    clean = _repainted(pictures, found.their_paint[chosen], found.paint[chosen])[:, None]  # (1, 1, 3, h, w)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed + index))
    noised = flow.noise_images(clean, torch.full((1, 1), TIMES[0]), noise)
    return Guide(Views(noised, exemplars.cameras[chosen[:, None], far]), TIMES)


def _repainted(
    pictures: Views, old: Float[Tensor, "n 3 1 1"], new: Float[Tensor, "n 3 1 1"]
) -> Float[Tensor, "n 3 h w"]:
    """Pictures (n, 1) of objects in one paint, with another in its place."""
    assert pictures.alphas is not None
    alpha = pictures.alphas[:, :1]
    own = _uncovered(pictures.images[:, 0], alpha[:, 0])
    painted = own + _likeness(own, old) * (new - old)
    return torch.lerp(torch.ones_like(painted), painted.clamp(0, 1), alpha)


def _order(difference: Float[Tensor, "n"], seed: int) -> Tensor:
    """Exemplars in the order of their use: the pool of those most alike, shuffled, and then the others."""
    ranked = difference.argsort()
    pool = ranked[:POOL]
    shuffle = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return torch.cat([pool[shuffle], ranked[POOL:]])


def _halved(views: Views) -> Views:
    """Pictures of half the size, which are enough to compare and cost a quarter."""
    assert views.alphas is not None
    cameras = views.cameras.resized(views.cameras.width // 2, views.cameras.height // 2)
    images = F.avg_pool2d(views.images.flatten(0, 1), 2).unflatten(0, views.images.shape[:2])
    return Views(images, cameras, F.avg_pool2d(views.alphas, 2))


def _directions(cameras: Cameras) -> Float[Tensor, "*batch 3"]:
    return F.normalize(cameras.centers.float().cpu(), dim=-1)


def _uncovered(pictures: Float[Tensor, "n 3 h w"], alpha: Float[Tensor, "n h w"]) -> Float[Tensor, "n 3 h w"]:
    """Colors of pictures over white, without the white."""
    cover = alpha[:, None]
    return ((pictures - (1 - cover)) / cover.clamp_min(0.05)).clamp(0, 1)


def _paint(colors: Float[Tensor, "n 3 h w"], alpha: Float[Tensor, "n h w"]) -> Float[Tensor, "n 3 1 1"]:
    """The color that most of each picture's object has: where mean shift goes from the mean."""
    share = alpha[:, None]
    paint = _mean(colors, share)
    for _ in range(_MEAN_SHIFTS):
        paint = _mean(colors, share * _likeness(colors, paint))
    return paint


def _likeness(colors: Float[Tensor, "n 3 h w"], paint: Float[Tensor, "n 3 1 1"]) -> Float[Tensor, "n 1 h w"]:
    distance = (colors - paint).square().sum(dim=1, keepdim=True)
    return torch.exp(-0.5 * distance / _SAME_PAINT**2)


def _mean(colors: Float[Tensor, "n 3 h w"], shares: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 3 1 1"]:
    total = shares.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return (shares * colors).sum(dim=(2, 3), keepdim=True) / total


def _rounded(x: Tensor) -> list:
    return np.round(x.double().numpy(), 6).tolist()
