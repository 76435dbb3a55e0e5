"""`sparsegen info`: what a file or folder holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsegen.errors import InputError

SUMMARY = "tell what a Gaussian file, a model or a dataset holds"

# What one of the files in a dataset's folder is called, in the layouts that are known.
_DATASETS = (
    *("intrinsics.txt", "[!.]*/intrinsics.txt", "[!.]*/*/intrinsics.txt"),  # SRN, and folders of it
    *("transforms.json", "[!.]*/transforms.json", "frame_annotations.jgz"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="Gaussian file, model folder, model.pth, or dataset")


def run(args: argparse.Namespace) -> None:
    from sparsegen.models.pretrained import CONFIG_NAME

    path: Path = args.path
    if not path.exists():
        raise InputError(f"{path}: not found; give a Gaussian file, a model or a dataset")
    if path.suffix == ".pth" or (path / CONFIG_NAME).exists():
        facts = _model(path)
    elif path.is_dir() or path.suffix == ".pack":
        facts = _dataset(path)
    else:
        facts = _gaussians(path)
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def _gaussians(path: Path) -> Mapping[str, Any]:
    from sparsegen.formats.gaussian_files import load_gaussians
    from sparsegen.gaussians import DEAD_OPACITY

    gaussians = load_gaussians(path)
    low, high = gaussians.means.amin(0).tolist(), gaussians.means.amax(0).tolist()
    bounds = ", ".join(f"{axis} {a:.3f} to {b:.3f}" for axis, a, b in zip("xyz", low, high, strict=True))
    dead = (gaussians.opacities < DEAD_OPACITY).float().mean().item()
    return {
        "file": f"{path} ({path.stat().st_size / 1e3:,.0f} KB)",
        "Gaussians": f"{gaussians.count:,}",
        "anchor queries": f"{gaussians.count // gaussians.expansion:,}",
        "bounds": bounds,
        "opacity 10/50/90 %": _quantiles(gaussians.opacities),
        "scale 10/50/90 %": _quantiles(gaussians.scales),
        f"opacity under {DEAD_OPACITY}": f"{dead:.1%}",
    }


def _model(path: Path) -> Mapping[str, Any]:
    from sparsegen.generation import load_network
    from sparsegen.models.pretrained import load_config

    model = load_network(path)
    size = model.config.image_size
    training = load_config(path).get("training", {}) if path.is_dir() else {}
    return {
        "model": str(path),
        "network": model.config.kind,
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "picture size": f"{size} x {size}",
        **model.facts(),
        **{name.replace("_", " "): value for name, value in training.items()},
    }


def _dataset(path: Path) -> Mapping[str, Any]:
    from sparsegen.data.loading import load_viewsets

    if path.is_dir() and not any(any(path.glob(sign)) for sign in _DATASETS):
        raise InputError(f"{path}: neither a dataset (SRN, NeRF, CO3D) nor a model folder; {_cure(path)}")
    viewsets = load_viewsets(path)
    objects, views, height, width, _ = viewsets.images.shape
    return {
        "dataset": str(path),
        "objects": f"{objects:,} ({viewsets.names[0]} to {viewsets.names[-1]})",
        "views": f"{views} for each, {width} x {height} pixels",
        "alpha": "known" if viewsets.has_alpha else "not known",
    }


def _cure(folder: Path) -> str:
    from sparsegen.formats.gaussian_files import FORMATS

    files = (p for p in folder.iterdir() if p.name.lower().endswith(tuple(f.suffix for f in FORMATS)))
    found = min(files, default=None)
    return "give one, or a file" if found is None else f"did you mean {found}?"


def _quantiles(values: Any) -> str:
    import numpy as np

    # Of NumPy, for torch.quantile refuses more than sixteen million values.
    return ", ".join(f"{q:.4f}" for q in np.quantile(values.numpy(), [0.1, 0.5, 0.9]))
