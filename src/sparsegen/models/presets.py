"""The networks' sizes in use."""

from __future__ import annotations

from dataclasses import replace

from sparsegen.errors import InputError
from sparsegen.models.gaussian_head import GaussianHeadConfig
from sparsegen.models.image_encoder import ImageEncoderConfig
from sparsegen.models.network import NetworkConfig
from sparsegen.models.pixel_aligned import PixelAlignedConfig
from sparsegen.models.position_encoder import PositionEncoderConfig
from sparsegen.models.sparsegen import ModelConfig


def paper() -> ModelConfig:
    """The reference model, weight for weight and oddity for oddity: 111,817,416 parameters with its
    unused mask token."""
    return ModelConfig(
        num_queries=512,
        expansion=10,
        width=512,
        heads=8,
        feed_forward=2048,
        encoder_layers=6,
        decoder_layers=6,
        dropout=0.1,
        gate_init=0.0,
        query_content=False,
        anchor_sampling="off",
        corrections=0,
        symmetric=False,
        needs_placeholders=True,
        truncate_times=True,
        image_encoder=ImageEncoderConfig(
            width=384,
            depth=12,
            heads=6,
            patch_size=14,
            input_size=224,
            table_size=37,
            class_token=True,
            pixels="imagenet",
            rays="off_centre",
            gate_init=0.0,
        ),
        position_encoder=PositionEncoderConfig(
            depth_bins=64, edges="left", margin=1e-7, sine=True, hidden_ratio=4
        ),
        head=GaussianHeadConfig(
            form="branches",
            shared=False,
            scale="clamped",
            scale_bias=-2.3,
            opacity_bias=-2.0,
            picture_colors=False,
        ),
    )


def base() -> ModelConfig:
    """The model to train on a GPU: 5,120 Gaussians from at most 24 million parameters."""
    return ModelConfig(
        num_queries=512,
        expansion=10,
        registers=8,
        width=320,
        heads=8,
        feed_forward=1280,
        encoder_layers=2,
        decoder_layers=4,
        detail_width=64,
        detail_blocks=2,
        corrections=3,
        feedback=True,
        slopes=True,
        image_encoder=ImageEncoderConfig(width=320, depth=4, heads=5, patch_size=8, table_size=16),
    )


def tiny() -> ModelConfig:
    """The model to train on a laptop: 2,048 Gaussians."""
    return ModelConfig(
        registers=8,
        detail_blocks=2,
        corrections=3,
        feedback=True,
        slopes=True,
    )


def wide() -> ModelConfig:
    """The model to train on a server's cores: `tiny`, out of which it can grow, with twice as many channels
    and more blocks; 2,048 Gaussians."""
    small = tiny()
    return replace(
        small,
        width=2 * small.width,
        heads=2 * small.heads,
        feed_forward=2 * small.feed_forward,
        sharp_width=2 * small.sharp_width,
        detail_blocks=4,
        image_encoder=replace(small.image_encoder, depth=6),
    )


def pixel_aligned() -> PixelAlignedConfig:
    """What sparse queries are compared with, as large as `base`: a Gaussian for each of 16,384 pixels."""
    return PixelAlignedConfig()


def pixel_aligned_tiny() -> PixelAlignedConfig:
    """The same, as large as `tiny`. Each square of 2 x 2 pixels has one Gaussian, 4,096 in all, so that a
    CPU can train it: fewer and larger Gaussians than the method's one for each pixel."""
    return PixelAlignedConfig(cell=2, width=16)


PRESETS = {
    "paper": paper,
    "base": base,
    "wide": wide,
    "tiny": tiny,
    "pixel_aligned": pixel_aligned,
    "pixel_aligned_tiny": pixel_aligned_tiny,
}


def preset(name: str) -> NetworkConfig:
    """The preset of this name; `InputError` if there is none."""
    if name not in PRESETS:
        raise InputError(f"no model preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()
