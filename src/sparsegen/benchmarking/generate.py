"""From one picture to Gaussians in a warm process."""

from __future__ import annotations

import functools

import torch

from sparsegen.cameras import orbit
from sparsegen.generation import Pipeline
from sparsegen.models.folding import fold, precision_of
from sparsegen.models.presets import preset
from sparsegen.timing import Row, interleaved
from sparsegen.views import Views

PRESETS = ("tiny", "wide", "base")


def measure(device: torch.device, repeats: int) -> list[Row]:
    """One step from one picture in memory, for the presets that are meant to be used."""
    candidates = {}
    for name in PRESETS:
        torch.manual_seed(0)
        pipeline = Pipeline(fold(preset(name).build().to(device).eval()))
        size = pipeline.model.config.image_size
        picture = torch.rand(1, 1, 3, size, size, generator=torch.Generator().manual_seed(0))
        candidates[_label(name, pipeline)] = functools.partial(
            pipeline, Views(picture, orbit(1, size=size)[None])
        )
    return [Row("generate", label, timing) for label, timing in interleaved(candidates, repeats).items()]


def _label(name: str, pipeline: Pipeline) -> str:
    model = pipeline.model
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    size = f"{millions:.1f} M parameters, {model.num_queries * model.expansion:,} Gaussians"
    return f"{name}, {precision_of(model)}, {size}"
