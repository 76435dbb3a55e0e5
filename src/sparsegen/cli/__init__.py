"""The `sparsegen` command: one file a verb."""
