"""Training: configuration, loop, losses, averaged weights, checkpoints, validation."""
