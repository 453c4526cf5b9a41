"""How good predictions are: figures with intervals, localisation, plots, paired tests."""
