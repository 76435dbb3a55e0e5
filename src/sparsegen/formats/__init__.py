"""Bytes on disk to ground-floor data and back."""
