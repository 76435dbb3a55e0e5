"""Weights on disk: a folder with `config.json` and `model.safetensors`, as the Hub has it.

A camera head lies in the folder `camera_head` of its model's folder, a foreground network in `foreground`, in
the same form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from sparsegen.errors import InputError
from sparsegen.formats.files import write_bytes
from sparsegen.models.camera_head import CameraHead, CameraHeadConfig
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.network import Network, NetworkConfig
from sparsegen.models.pixel_aligned import PixelAlignedConfig
from sparsegen.models.sparsegen import ModelConfig

M = TypeVar("M", bound=nn.Module)

# Where the weights in the package lie.
SHIPPED_WEIGHTS = Path(__file__).parent.parent / "weights"
CONFIG_NAME = "config.json"
CAMERA_HEAD = "camera_head"
FOREGROUND = "foreground"
WEIGHTS_NAME = "model.safetensors"
# Weights from before there was another kind do not say which they are.
_CONFIGS = {config.kind: config for config in (ModelConfig, PixelAlignedConfig)}
_EXPECTED = f"a model folder holds {CONFIG_NAME} and {WEIGHTS_NAME}"


def save_pretrained(
    model: Network | CameraHead | ForegroundNet,
    folder: Path,
    dtype: torch.dtype = torch.float16,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write `config.json` (the model's sizes under "model", and `extra`) and `model.safetensors`."""
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in model.state_dict().items()}
    # As bytes: the library's own writing hides a full disk and closes the file to other users.
    write_bytes(folder / WEIGHTS_NAME, save(tensors, metadata={"format": "pt"}))
    config = {"model": asdict(model.config), **(extra or {})}
    write_bytes(folder / CONFIG_NAME, (json.dumps(config, indent=2) + "\n").encode())


def load_pretrained(folder: Path) -> Network:
    """The model in a folder, in float32 and eval mode; `InputError` names what is missing or unfit."""
    config, tensors = _read(folder)
    path = folder / CONFIG_NAME
    model = config_from_dict(config_class(config["model"], path), config["model"], path).build()
    load_state(model, tensors, folder / WEIGHTS_NAME)
    return model.eval()


def load_camera_head(model_folder: Path) -> CameraHead | None:
    """The camera head that belongs to a model, if it has one."""
    return _beside(model_folder / CAMERA_HEAD, CameraHeadConfig, CameraHead)


def load_foreground_net(model_folder: Path) -> ForegroundNet | None:
    """The foreground network that belongs to a model, if it has one."""
    return _beside(model_folder / FOREGROUND, ForegroundConfig, ForegroundNet)


def _beside(folder: Path, config_type: type, network: Callable[[Any], M]) -> M | None:
    if not folder.is_dir():
        return None
    config, tensors = _read(folder)
    net = network(config_from_dict(config_type, config["model"], folder / CONFIG_NAME))
    load_state(net, tensors, folder / WEIGHTS_NAME)
    return net.eval()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    config = load_config(folder)
    weights = folder / WEIGHTS_NAME
    try:
        tensors = load_file(weights)
    except FileNotFoundError:
        raise InputError(f"{weights}: not found; {_EXPECTED}") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights}: not a whole safetensors file ({error}); copy it again") from None
    return config, tensors


def load_config(folder: Path) -> dict[str, Any]:
    """The contents of a model folder's `config.json`."""
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: not found; {_EXPECTED}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise InputError(f'{path}: expected an object with the network\'s sizes under "model"')
    return config


def load_state(model: nn.Module, tensors: dict[str, torch.Tensor], source: Path) -> None:
    """Load weights strictly; `InputError` names the first key that is missing, unknown or misshapen."""
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in tensors:
            raise InputError(f"{source}: no weights for {name}; it was made for a network of another shape")
        if tensors[name].shape != tensor.shape:
            found, wanted = tuple(tensors[name].shape), tuple(tensor.shape)
            raise InputError(
                f"{source}: {name} has shape {found}, expected {wanted}; is its config.json the right one?"
            )
    unknown = next((name for name in tensors if name not in own), None)
    if unknown is not None:
        raise InputError(f"{source}: unknown weights {unknown}; it was made for a network of another shape")
    model.load_state_dict(tensors)


def config_class(values: Mapping[str, Any], source: Path) -> type[NetworkConfig]:
    """The class of a stored network's sizes, which say their `kind`."""
    kind = values.get("kind", ModelConfig.kind)
    if kind not in _CONFIGS:
        raise InputError(f"{source}: unknown kind of network {kind!r}; known are {', '.join(_CONFIGS)}")
    return _CONFIGS[kind]


def config_from_dict(cls: type, values: dict[str, Any], source: Path) -> Any:
    """A (nested) config dataclass from a JSON object; unknown keys are refused by name."""
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"{source}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    nested = {
        name: config_from_dict(hints[name], value, source) if is_dataclass(hints[name]) else value
        for name, value in values.items()
    }
    return cls(**nested)
