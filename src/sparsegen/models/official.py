"""The reference implementation's released checkpoint: `model.pth` with `.hydra/config.yaml` beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.models.presets import paper
from sparsegen.models.pretrained import load_state
from sparsegen.models.sparsegen import ModelConfig, SparseGen

# The averaged weights lie under "diffuser", every name behind this prefix.
_PREFIX = "reconstructor."

# Constants that the reference stores, and the one parameter that nothing reads.
_UNUSED = (
    "position_range",
    "renderer.background_color",
    "renderer.position_range",
    "feature_extractor.model.mask_token",
)

# Reference names, in order, as patterns; what they are called here.
_RENAMES = [
    (r"feature_extractor\.model\.cls_token", "image_encoder.class_token"),
    (r"feature_extractor\.model\.pos_embed", "image_encoder.position_table"),
    (r"feature_extractor\.model\.patch_embed\.proj", "image_encoder.patch_embedding"),
    (r"feature_extractor\.model\.norm", "image_encoder.norm"),
    (r"feature_extractor\.model\.blocks", "image_encoder.blocks"),
    (r"feature_extractor\.t_embedder", "image_encoder.time_embedding"),
    (r"transformer\.t_embedder", "time_embedding"),
    (r"transformer\.encoder_layers\.(\d+)\.self_attn", r"encoder.\1.attention"),
    (r"transformer\.encoder_layers", "encoder"),
    (r"transformer\.decoder_layers", "decoder"),
    (r"reference_points\.weight", "unit_anchors"),
    (r"query_embedding", "anchor_encoder.mlp"),
    (r"adapt_pos3d", "position_encoder.parts.sine"),
    (r"position_encoder(?=\.\d)", "position_encoder.parts.frustum"),
    (r"input_proj", "input_projection"),
    (r"gs_decoder\.(\d+)\.xyz", r"heads.\1.net.offset"),
    (r"gs_decoder\.(\d+)", r"heads.\1.net"),
    (r"\.attn\.qkv", ".attention.qkv"),
    (r"\.attn\.proj", ".attention.output"),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.cross_attn\.q_proj", ".cross_attention.query"),
    (r"\.cross_attn\.", ".cross_attention."),
    (r"output_proj", "output"),
    (r"\.ls(\d)\.gamma", r".scale\1"),
    (r"\.mlp\.fc1", ".feed_forward.rise"),
    (r"\.mlp\.fc2", ".feed_forward.fall"),
    (r"\.feed_forward\.fc1", ".feed_forward.rise"),
    (r"\.feed_forward\.fc2", ".feed_forward.fall"),
    (r"\.adaLN_modulation\.1", ".modulation.linear"),
]


def load_official(path: Path) -> SparseGen:
    """The reference's trained model, ready for inference; every stored weight is accounted for.

    Raises `InputError` if the file is not such a checkpoint, or its configuration is missing or another.
    """
    config_path = path.parent / ".hydra" / "config.yaml"
    checkpoint = _read_checkpoint(path)
    weights = {k.removeprefix(_PREFIX): v for k, v in checkpoint.items() if k.startswith(_PREFIX)}
    if not weights:
        raise InputError(f"{path}: no weights named {_PREFIX}*; expected a model.pth of the reference")
    model = SparseGen(official_config(_read_config(config_path), config_path))
    load_state(model, convert(weights), path)
    return model.eval()


def official_config(settings: Mapping[str, Any], source: Path) -> ModelConfig:
    """The `paper` preset with the sizes of a reference configuration (its `model` and `render` nodes)."""
    try:
        model, view = settings["model"], settings["render"]
        frame = paper()
        bound = float(model["position_range"][3])
        return replace(
            frame,
            num_queries=model["num_query"],
            expansion=model["num_gs_per_query"],
            width=model["embed_dims"],
            heads=model["num_heads"],
            encoder_layers=model["num_encoder_layers"],
            decoder_layers=model["num_decoder_layers"],
            bound=bound,
            position_encoder=replace(
                frame.position_encoder, depth_bins=model["depth_num"], near=view["znear"], far=view["zfar"]
            ),
            head=replace(frame.head, max_scale=model["max_scale"]),
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(f"{source}: not a configuration of the reference ({error!r} is amiss)") from None


def convert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reference weights under this package's names, with q, k and v (or k and v) fused."""
    converted: dict[str, Tensor] = {}
    pieces: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        if name in _UNUSED:
            continue
        new = _rename(name)
        match = re.fullmatch(r"(.*)\.([qkv])_proj\.(weight|bias)", new)
        if match:
            block, part, kind = match.groups()
            fused = "key_value" if block.endswith("cross_attention") else "qkv"
            pieces.setdefault(f"{block}.{fused}.{kind}", {})[part] = tensor
        else:
            converted[new] = _as_linear(new, tensor)
    for name, parts in pieces.items():
        converted[name] = torch.cat([parts[part] for part in sorted(parts, key="qkv".index)])
    return converted


def _rename(name: str) -> str:
    for pattern, new in _RENAMES:
        name = re.sub(pattern, new, name)
    return name


def _as_linear(name: str, tensor: Tensor) -> Tensor:
    """1 x 1 convolutions become linear layers; the patch embedding stays a convolution."""
    if tensor.ndim == 4 and tensor.shape[-2:] == (1, 1) and "patch_embedding" not in name:
        return tensor[..., 0, 0]
    return tensor


def _read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # what is no checkpoint makes the unpickler fail in any way, with advice that is unsafe
        raise InputError(f"{path}: not a whole PyTorch checkpoint of tensors; copy it again") from None
    if not isinstance(contents, dict) or not isinstance(contents.get("diffuser"), dict):
        raise InputError(f'{path}: no "diffuser" entry; expected a model.pth of the reference')
    return contents["diffuser"]


def _read_config(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        settings = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: not found; copy the checkpoint together with its .hydra folder") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML ({str(error).splitlines()[0]})") from None
    return settings
