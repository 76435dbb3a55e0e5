"""What one training step minimises: a forward pass, now and then self-conditioned, splatting, the losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sparsegen.cameras import Cameras
from sparsegen.data.sampling import Batch
from sparsegen.gaussians import Gaussians
from sparsegen.models import Network
from sparsegen.splatting import Rendering, render
from sparsegen.training.devices import forward
from sparsegen.training.logs import Stopwatch
from sparsegen.training.losses import PictureDistance, Renderer, training_loss

if TYPE_CHECKING:
    from sparsegen.training.config import TrainConfig

# The smallest prefix of the anchor queries that is trained by itself, as a share of all.
ELASTIC_MIN_SHARE = 1 / 8


def training_renderer(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Splatting over white without depth, which no loss looks at."""
    return render(gaussians, cameras, depth=False)


def prefix_size(queries: int, share: float) -> int:
    """How many anchor queries are a share of all: at least one."""
    return max(1, round(queries * share))


def has_idle_parameters(config: TrainConfig) -> bool:
    """Whether steps leave parameters without a gradient: heads of layers that no loss looks at."""
    return config.model.idle_heads and not _looks_at_every_layer(config)


class Objective:
    """The loss of a batch; every choice in it follows from the run's seed and the step's number."""

    def __init__(
        self,
        config: TrainConfig,
        model: Network,
        wrapped: nn.Module,
        renderer: Renderer,
        perceptual: PictureDistance | None = None,
    ) -> None:
        self.config = config
        self.model = model
        self.wrapped = wrapped
        self.renderer = renderer
        self.perceptual = perceptual

    def __call__(self, batch: Batch, step: int, watch: Stopwatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the last layer's terms for the log; `watch` counts where the time goes, there and
        in the backward pass to come."""
        config = self.config
        renderer = _timed(self.renderer, watch)
        rng = np.random.default_rng((config.seed, 2, step))
        condition = None
        if batch.noised and rng.random() < config.self_conditioning_probability:
            condition = self._self_conditioning(batch, renderer, watch)
        queries = self._queries(rng)
        views = rng.permutation(batch.targets.view_count)[: config.loss.intermediate_views].tolist()
        which = "all" if _looks_at_every_layer(config) else "last"
        layers = forward(
            self.wrapped,
            batch.inputs,
            batch.times,
            condition,
            self.model.expansion,
            which,
            queries,
        )
        watch.lap("network")
        loss = training_loss(
            layers, self.model.anchors, batch.targets, config.loss, renderer, views, self.perceptual
        )
        watch.lap("losses")
        return loss

    def _queries(self, rng: np.random.Generator) -> int | None:
        """How many anchor queries a step uses: all, or now and then a random prefix, small ones as often as
        large ones, so that one checkpoint serves any number of them."""
        if rng.random() >= self.config.elastic_probability:
            return None
        return prefix_size(self.model.num_queries, ELASTIC_MIN_SHARE ** rng.random())

    @torch.no_grad()
    def _self_conditioning(self, batch: Batch, renderer: Renderer, watch: Stopwatch) -> Tensor:
        """The noised views as a first pass renders them; clean views stay as they are."""
        expansion = self.model.expansion
        layers = forward(self.wrapped, batch.inputs, batch.times, None, expansion, "last")
        watch.lap("network")
        rendering = renderer(layers[-1], batch.inputs.cameras[:, batch.clean :])
        return torch.cat([batch.inputs.images[:, : batch.clean], rendering.rgb.clamp(0, 1)], dim=1)


def _looks_at_every_layer(config: TrainConfig) -> bool:
    return bool(config.loss.intermediate and config.loss.intermediate_views)


def _timed(renderer: Renderer, watch: Stopwatch) -> Renderer:
    """The renderer with its time, forward and backward, counted apart from that of the losses around it."""

    def splat(gaussians: Gaussians, cameras: Cameras) -> Rendering:
        watch.lap("losses")
        watch.lap_in_backward(gaussians.means, "splatting")
        rendering = renderer(gaussians, cameras)
        watch.lap_in_backward(rendering.rgb, "losses")
        watch.lap("splatting")
        return rendering

    return splat
