"""Labelled data, training and evaluation. Imports the core; the core never imports this."""
