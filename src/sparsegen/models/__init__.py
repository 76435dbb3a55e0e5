"""The networks and their weights."""

from sparsegen.models.network import Network, NetworkConfig
from sparsegen.models.presets import preset
from sparsegen.models.sparsegen import ModelConfig, SparseGen

__all__ = ["ModelConfig", "Network", "NetworkConfig", "SparseGen", "preset"]
