"""What the MONAI bundle's configurations call by name: reader, transforms, network and savers.

Nothing clinical is decided here. Reading, preprocessing, eligibility and decisions are the core's.
"""
