"""Segmentation models that the user has, as ONNX files, run on the CPU.

Known are U-2-Net and IS-Net (the files that rembg keeps in `~/.u2net`), BiRefNet, and IS-Net as the npm
package `@imgly/background-removal-data` has it: a folder of pieces with a `resources.json`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.formats.files import check_readable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# By preference; names without .onnx as rembg gives them.
_USUAL_NAMES = (
    "birefnet-general",
    "birefnet-general-lite",
    "bria-rmbg",
    "isnet-general-use",
    "u2net",
    "silueta",
    "u2netp",
)
_INDEX = "resources.json"
_PIECED_MODELS = ("/models/medium", "/models/small")
# Mean and standard deviation of the pixels that a family was trained on.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CENTRED = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Segmenter:
    """A model with the picture size and the pixel values that it expects."""

    session: InferenceSession
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str

    def coverage(self, rgb: Float[Tensor, "3 h w"]) -> Float[Tensor, "h w"]:
        """How much of each pixel the object covers. Raises `InputError` if the model cannot be run."""
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.mean, self.std))
        square = F.interpolate(rgb[None], (self.size, self.size), mode="bilinear", antialias=True)
        pixels = ((square - mean) / std).numpy()
        try:
            output = np.asarray(self.session.run(None, {self.session.get_inputs()[0].name: pixels})[0])
            found = torch.from_numpy(output).float().reshape(1, 1, *output.shape[-2:])
        except Exception as error:  # onnxruntime's errors share no base class
            raise _unusable(self.name, error) from None
        if found.min() < -0.01 or found.max() > 1.01:
            found = found.sigmoid()  # some files end before their last layer
        return F.interpolate(found, rgb.shape[1:], mode="bilinear", antialias=True)[0, 0].clamp(0, 1)


def find_model() -> Path | None:
    """The best model in the folder where rembg keeps its own, if there is one."""
    folder = Path(os.environ.get("U2NET_HOME") or Path.home() / ".u2net")
    candidates = (folder / f"{name}.onnx" for name in _USUAL_NAMES)
    return next((path for path in candidates if path.is_file()), None)


def check_model(path: Path) -> None:
    """Raise `InputError` unless `path` is a model and can be loaded."""
    if not path.exists():
        raise InputError(
            f"--matting {path}: expected auto, border, network, grabcut or an ONNX model, found no such file"
        )
    load_segmenter(path)


@lru_cache(maxsize=1)
def load_segmenter(path: Path) -> Segmenter:
    """Open an ONNX file, or the folder of a model in pieces. Raises `InputError`."""
    if find_spec("onnxruntime") is None:
        raise InputError(
            f"{path}: models need ONNX Runtime; pip install onnxruntime, or use --matting border"
        )
    import onnxruntime

    model = _join_pieces(path) if path.is_dir() else str(check_readable(path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape
    except Exception as error:  # onnxruntime's errors share no base class
        raise _unusable(str(path), error) from None
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise InputError(
            f"{path}: takes {shape}, not pictures (1, 3, height, width); give a segmentation model"
        )
    name = path.stem.lower()
    small = name.startswith(("u2net", "silueta"))
    size = shape[2] if isinstance(shape[2], int) else (320 if small else 1024)
    mean, std = _IMAGENET if small or size == 320 or "birefnet" in name else _CENTRED
    return Segmenter(session, size, mean, std, str(path))


def _join_pieces(folder: Path) -> bytes:
    index = next((p for p in (folder / _INDEX, folder / "dist" / _INDEX) if p.is_file()), None)
    if index is None:
        raise InputError(f"{folder}: no {_INDEX} in this folder; give the model's .onnx file")
    try:
        entries = json.loads(index.read_text())
        entry = next(entries[name] for name in _PIECED_MODELS if name in entries)
        model = b"".join((index.parent / chunk["hash"]).read_bytes() for chunk in entry["chunks"])
        complete = len(model) == entry["size"]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise InputError(f"{index}: its model cannot be put together ({error}); install it again") from None
    if not complete:
        raise InputError(f"{index}: its model has {len(model)} bytes, not {entry['size']}; install it again")
    return model


def _unusable(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{name}: ONNX Runtime cannot use it ({reason}); give another model, or --matting border"
    )
