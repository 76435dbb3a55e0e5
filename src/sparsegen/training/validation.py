"""Validation during training: novel views of held-out objects, and whether the input picture matters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import SRN_VIEWS, for_views
from sparsegen.data.viewpoints import SPIRAL_VIEWS
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.metrics import alpha_iou, dead_share, gradient_energy_ratio, object_psnr, psnr
from sparsegen.models import Network
from sparsegen.splatting import Rendering
from sparsegen.training.losses import Renderer
from sparsegen.views import Views


@dataclass
class ValidationConfig:
    """How much is validated and when: after `every` on the clock, or `every_steps` where that is set.

    `input_view` and `second_view` count within an object's views; left out, they are those of the
    evaluation's protocol.
    """

    every: str = "3m"
    every_steps: int | None = None
    objects: int = 16
    views: int = 6
    batch_size: int = 8
    input_view: int | None = None
    second_view: int | None = None


@dataclass(frozen=True)
class Scores:
    """Means over the validation objects; decibels, shares in [0, 1]."""

    psnr: float  # one input view, novel views
    psnr_inside: float  # the same, where the true alpha is above 1/2
    iou: float  # of alphas above 1/2
    gap: float  # psnr minus the psnr with another object's picture as input; NaN for a single object
    psnr_two: float  # two input views
    sharpness: float  # gradient energy over the truth's, one input view
    dead: float  # share of Gaussians with opacity below `DEAD_OPACITY`

    def __str__(self) -> str:
        return (
            f"PSNR {self.psnr:.2f}, inside {self.psnr_inside:.2f}, two views {self.psnr_two:.2f}, "
            f"input gap {self.gap:.2f}, IoU {self.iou:.3f}, "
            f"sharpness {self.sharpness:.2f}, dead {self.dead:.1%}"
        )

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class Validator:
    """A fixed set of held-out views, gathered once."""

    def __init__(
        self, viewsets: Viewsets, config: ValidationConfig, device: torch.device | str = "cpu"
    ) -> None:
        total_objects, total_views = viewsets.images.shape[:2]
        first, second = input_views(total_views)
        if config.input_view is not None:
            first = min(config.input_view, total_views - 1)
        if config.second_view is not None:
            second = min(config.second_view, total_views - 1)
        others = [v for v in range(total_views) if v not in (first, second)] or [first]
        spread = np.linspace(0, len(others) - 1, min(config.views, len(others))).round().astype(int)
        view_ids = np.array([first, second, *(others[i] for i in spread)])
        object_ids = np.linspace(0, total_objects - 1, min(config.objects, total_objects)).round().astype(int)
        views = viewsets.views(object_ids, np.tile(view_ids, (len(object_ids), 1)), device)
        self.inputs, self.targets = views.select([0, 1]), views.select(slice(2, None))
        self.batch_size = config.batch_size

    @torch.no_grad()
    def scores(self, model: Network, renderer: Renderer, queries: int | None = None) -> Scores:
        """Scores of a model in eval mode, or of only the first `queries` of its anchor queries."""
        one = self.inputs.select([0])
        right = self._reconstruct(model, one, queries)
        # Every object gets the next one's picture, at the same camera.
        wrong = self._reconstruct(model, Views(one.images.roll(1, 0), one.cameras), queries)
        two = self._reconstruct(model, self.inputs, queries)
        whole, inside, iou, sharpness = self._compare(right, renderer)
        whole_wrong, *_ = self._compare(wrong, renderer)
        whole_two, *_ = self._compare(two, renderer)
        dead = torch.cat([dead_share(g) for g in right]).mean().item()
        gap = whole - whole_wrong if one.batch_size > 1 else math.nan
        return Scores(whole, inside, iou, gap, whole_two, sharpness, dead)

    def _reconstruct(self, model: Network, inputs: Views, queries: int | None) -> list[Gaussians]:
        pipeline = Pipeline(model)
        batches = torch.arange(inputs.batch_size).split(self.batch_size)
        return [pipeline.generate(inputs.objects(ids), ids.tolist(), queries=queries) for ids in batches]

    def _compare(self, objects: Sequence[Gaussians], renderer: Renderer) -> list[float]:
        """PSNR, PSNR inside, IoU and sharpness of the target views, each a mean over views and objects."""
        batches = torch.arange(self.targets.batch_size).split(self.batch_size)
        parts = []
        for ids, gaussians in zip(batches, objects, strict=True):
            targets = self.targets.objects(ids)
            parts.append(_view_scores(renderer(gaussians, targets.cameras), targets))
        return torch.cat(parts, dim=1).nanmean((1, 2)).tolist()


def _view_scores(rendering: Rendering, targets: Views) -> Float[Tensor, "4 b v"]:
    """PSNR, PSNR inside, IoU and sharpness of every view; NaN for what needs an alpha that is not known."""
    images = rendering.rgb.clamp(0, 1)
    whole = psnr(images, targets.images)
    inside = iou = torch.full_like(whole, torch.nan)
    if targets.alphas is not None:
        inside = object_psnr(images, targets.images, targets.alphas)
        iou = alpha_iou(rendering.alpha, targets.alphas)
    return torch.stack([whole, inside, iou, gradient_energy_ratio(images, targets.images)])


def input_views(total: int) -> tuple[int, int]:
    """The two input views of the evaluation's protocol for objects of `total` views.

    Where it knows no such number, views at the same share of the way along our test spiral.
    """
    first, second = for_views(total, inputs=2).input_views
    if total in (SRN_VIEWS, SPIRAL_VIEWS):
        return first, second
    return first * total // SPIRAL_VIEWS, second * total // SPIRAL_VIEWS
