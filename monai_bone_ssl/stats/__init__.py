"""Statistics on plain arrays: intervals, calibration, operating points, small regressions."""
