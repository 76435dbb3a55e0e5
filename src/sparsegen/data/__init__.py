"""Datasets: layouts on disk, viewset sampling, rendering, procedural objects."""
