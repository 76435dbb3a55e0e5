"""Small networks and random views for tests."""

from dataclasses import replace

import torch

from sparsegen.cameras import orbit
from sparsegen.models import SparseGen
from sparsegen.models.presets import tiny
from sparsegen.views import Views


def small(**changes):
    config = tiny()
    encoder = replace(config.image_encoder, width=32, depth=1, input_size=32, table_size=4, patch_size=8)
    sizes = {"width": 32, "feed_forward": 64, "num_queries": 6, "expansion": 2, "registers": 2}
    sizes["detail_width"] = 8
    return replace(config, image_size=32, image_encoder=encoder, **(sizes | changes))


def some_views(b=2, v=3, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cameras = orbit(b * v, elevation=0.4, size=size).reshape(b, v)
    return Views(torch.rand(b, v, 3, size, size, generator=generator), cameras)


def build(config, seed=0):
    torch.manual_seed(seed)
    return SparseGen(config).eval()
