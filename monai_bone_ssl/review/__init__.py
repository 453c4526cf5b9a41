"""Reading images beside the algorithm: worklist, verdicts, sessions, verified reports, adaptation.

Everything a viewer needs and nothing about windows: the same functions serve the 3D Slicer module and the
command line.
"""
