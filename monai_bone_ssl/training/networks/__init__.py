"""Networks: backbones, their weights, features taken from them, and their export."""
