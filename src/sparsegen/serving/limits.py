"""How much the server takes, keeps and gives."""

from __future__ import annotations

from dataclasses import dataclass

# What one request may ask for; these are part of the interface's schema.
MAX_PICTURES = 4  # of one object
MAX_SAMPLES = 4
MAX_STEPS = 20
MAX_EDITS = 500


@dataclass(frozen=True)
class Limits:
    """Bounds on what is taken in and on what the server holds at a time."""

    upload_bytes: int = 32 * 2**20  # of a whole request
    pixels: int = 50_000_000  # of one picture, before it is decoded
    gaussians: int = 1_000_000  # of an uploaded file
    queue: int = 8  # jobs that wait; more are told to come back
    results: int = 64  # finished jobs that are kept; the oldest go first
    seconds_kept: float = 3600.0
