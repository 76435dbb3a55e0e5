"""A network grown from a smaller one: larger in every way asked for, and at first the same function.

Channels are repeated, and whoever reads them divides its weights among the copies, so that every sum stays
what it was (Net2Net, arXiv 1511.05641); layer normalisation does not notice, since means and variances over
the copies are those of the original. The shares are uneven and random: copies that were read alike would
stay alike for ever. New blocks begin by adding nothing, new corrections read as the last one did and begin by
changing nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from sparsegen.errors import InputError
from sparsegen.models.corrector import Corrector, read_beside_map
from sparsegen.models.gaussian_head import raw_sizes
from sparsegen.models.image_encoder import Block
from sparsegen.models.sparsegen import ModelConfig, SparseGen

# How far the shares of two copies may lie apart: half a share.
_UNEVEN = 0.5
# Layers whose outputs are several vectors side by side.
_PARTS = {"qkv": 3, "key_value": 2, "modulation.linear": 9}
_GROWING = (
    "width, heads, feed_forward, sharp_width (in whole multiples), "
    "image_encoder.depth, detail_blocks, corrections"
)


def grows(old: ModelConfig, new: ModelConfig) -> bool:
    """Whether the networks differ in what can grow."""
    return any(
        getattr(old, size) != getattr(new, size)
        for size in ("width", "sharp_width", "detail_blocks", "corrections")
    ) or (old.image_encoder.depth != new.image_encoder.depth)


def grow(small: SparseGen, config: ModelConfig) -> SparseGen:
    """A network of `config` that computes what `small` does, up to rounding; draws from PyTorch's generator.

    Raises `InputError` where `config` differs in more than can grow: `width` with `heads` and `feed_forward`,
    and `sharp_width`, by whole factors; `image_encoder.depth`, `detail_blocks` and, where there is one,
    `corrections` by any number.
    """
    old = small.config
    _check(old, config)
    large = SparseGen(config)
    known = small.state_dict()
    state = large.state_dict()
    for name, fresh in state.items():
        if name in known:
            state[name] = _widened(name, known[name], fresh.shape, old, config)
    large.load_state_dict(state)
    for block in list(large.image_encoder.blocks)[old.image_encoder.depth :]:
        assert isinstance(block, Block)
        nn.init.zeros_(block.scale1)
        nn.init.zeros_(block.scale2)
    for corrector in list(large.correctors)[old.corrections :]:
        corrector.load_state_dict(large.correctors[old.corrections - 1].state_dict())
        assert isinstance(corrector, Corrector)
        nn.init.zeros_(corrector.last.weight)
    return large.train(small.training)


def _check(old: ModelConfig, new: ModelConfig) -> None:
    same = replace(
        new,
        width=old.width,
        heads=old.heads,
        feed_forward=old.feed_forward,
        sharp_width=old.sharp_width,
        detail_blocks=old.detail_blocks,
        corrections=old.corrections,
        image_encoder=replace(new.image_encoder, depth=old.image_encoder.depth),
    )
    if same != old or new.position_encoder.sine or old.head.form != "trunk" or not old.detail_blocks:
        raise InputError(f"this network cannot grow out of that one: what can grow is {_GROWING}")
    factor = new.width // old.width
    if (new.width, new.heads, new.feed_forward) != tuple(
        factor * x for x in (old.width, old.heads, old.feed_forward)
    ):
        raise InputError(
            f"width={new.width}, heads={new.heads}, feed_forward={new.feed_forward}: expected the same "
            f"multiple of {old.width}, {old.heads} and {old.feed_forward}"
        )
    if new.sharp_width % old.sharp_width:
        raise InputError(f"sharp_width={new.sharp_width}: expected a multiple of {old.sharp_width}")
    fewer = new.image_encoder.depth < old.image_encoder.depth or new.detail_blocks < old.detail_blocks
    if fewer or new.corrections < old.corrections:
        raise InputError("image_encoder.depth, detail_blocks and corrections: expected no fewer than before")
    if new.corrections and not old.corrections:
        raise InputError("corrections: expected some before, which new ones begin like")


def _widened(name: str, weight: Tensor, shape: torch.Size, old: ModelConfig, new: ModelConfig) -> Tensor:
    """Weights of the shape wanted: rows repeated, columns shared among copies."""
    if weight.shape == shape:
        return weight
    if name in ("registers", "anchor_encoder.content") or (name.startswith("correctors") and "slots" in name):
        return weight.repeat(1, shape[1] // weight.shape[1])
    rows = shape[0] // weight.shape[0]
    parts = next((count for layer, count in _PARTS.items() if layer in name), 1)
    tall = weight.unflatten(0, (parts, -1)).repeat(1, rows, *[1] * (weight.dim() - 1)).flatten(0, 1)
    if weight.dim() == 1 or tall.shape == shape:
        return tall
    if name == "anchor_encoder.mlp.0.weight":
        return _finer_code(tall, shape)
    inputs = _inputs(name, weight, old)
    factor = (new.sharp_width // old.sharp_width) if _as_wide_as_map(name) else (new.width // old.width)
    columns: list[Tensor] = []
    for part, (_, repeats) in zip(tall.split([size for size, _ in inputs], dim=1), inputs, strict=True):
        columns += [share * part for share in _shares(factor if repeats else 1, part)]
    return torch.cat(columns, dim=1)


def _inputs(name: str, weight: Tensor, config: ModelConfig) -> list[tuple[int, bool]]:
    """What a layer reads, side by side: how wide each part is, and whether it is repeated."""
    sights = 1 + config.symmetric
    if name == "sampling.anchor_mlp.0.weight":
        return [(config.width, True), (3, False)] * sights
    if name.startswith("correctors") and name.endswith("local.weight"):
        raw = sum(raw_sizes(config.head.picture_colors))
        sight = [(config.sharp_width, True), (read_beside_map(config.feedback), False)]
        return [*sight * sights, (raw + raw * config.slopes, False)]
    return [(weight.shape[1], True)]


def _as_wide_as_map(name: str) -> bool:
    """Whether a layer's inputs grow with the sharp map, and not with the queries."""
    return name.startswith("sharp.") or (name.startswith("correctors") and ".query." not in name)


def _shares(copies: int, segment: Tensor) -> list[Tensor]:
    """What each copy contributes of every weight; they sum to 1."""
    if copies == 1:
        return [torch.ones_like(segment)]
    noise = torch.rand(copies, *segment.shape) - 0.5
    uneven = 1 + _UNEVEN * (noise - noise.mean(0))
    return list(uneven / copies)


def _finer_code(weight: Tensor, shape: torch.Size) -> Tensor:
    """Columns for a sine code of more rates, each multiple of the old ones among them."""
    factor = shape[1] // weight.shape[1]
    grouped = weight.unflatten(1, (3, -1, 2))  # axis, rate, sine and cosine
    finer = grouped.new_zeros(shape[0], 3, factor * grouped.shape[2], 2)
    finer[:, :, ::factor] = grouped
    return finer.flatten(1)
