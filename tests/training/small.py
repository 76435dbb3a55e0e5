"""Settings of a network that takes milliseconds, for the balls' pictures of 32 pixels."""

NETWORK = [
    "model.image_size=32", "model.image_encoder.input_size=32", "model.image_encoder.table_size=4",
    "model.image_encoder.patch_size=8", "model.image_encoder.width=32", "model.image_encoder.heads=2",
    "model.image_encoder.depth=1", "model.width=32", "model.heads=2", "model.feed_forward=64",
    "model.num_queries=16", "model.expansion=4", "model.detail_width=16", "model.decoder_layers=2",
]  # fmt: skip
