from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from balls import ball_viewsets

from sparsegen.models.image_encoder import ImageEncoderConfig
from sparsegen.models.sparsegen import ModelConfig
from sparsegen.training.config import TrainConfig
from sparsegen.training.losses import LossConfig
from sparsegen.training.optimization import OptimizerConfig

SIZE = 32


@pytest.fixture
def two_balls():
    return ball_viewsets(torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]]), size=SIZE)


@pytest.fixture
def tiny_config(tmp_path) -> TrainConfig:
    """A network that takes milliseconds, with dropout so that random states matter."""
    encoder = ImageEncoderConfig(width=32, depth=1, heads=2, patch_size=8, input_size=SIZE, table_size=4)
    model = ModelConfig(
        image_size=SIZE,
        num_queries=16,
        expansion=4,
        width=32,
        heads=2,
        feed_forward=64,
        decoder_layers=2,
        dropout=0.1,
        detail_width=16,
        image_encoder=encoder,
    )
    config = TrainConfig(
        runs=str(tmp_path), batch_size=2, max_steps=8, log_every=2, device="cpu", model=model
    )
    config.validation = replace(config.validation, views=3)
    config.optimizer = OptimizerConfig(lr=2e-3, warmup_steps=3)
    config.loss = LossConfig(ssim=0.1, offset=0.1, scale=0.1)
    return config
