"""A model's probe fitted again to the verdicts of one site's readers, and the versions of the model."""
