"""What the MONAI bundle's configurations call by name: reader, transforms, network and savers.

Nothing clinical is decided here: the core reads, preprocesses, checks and decides.
"""
