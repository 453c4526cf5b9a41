"""Classes and functions that the MONAI bundle's configurations name: reader, transforms, network, savers.

Nothing clinical is decided here: the core reads, preprocesses, checks and decides.
"""
