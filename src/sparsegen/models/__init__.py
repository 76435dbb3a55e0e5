"""The network and its weights."""

from sparsegen.models.presets import preset
from sparsegen.models.sparsegen import ModelConfig, SparseGen

__all__ = ["ModelConfig", "SparseGen", "preset"]
