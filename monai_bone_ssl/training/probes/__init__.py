"""Small classifiers on frozen features, and how they are chosen by cross-validation."""
