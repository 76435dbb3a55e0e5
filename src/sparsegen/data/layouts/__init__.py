"""Datasets on disk: one module a layout, each with `load_*` and, where others read it, `save_*`."""
