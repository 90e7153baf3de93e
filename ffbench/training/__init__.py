"""From calibration text to a plan."""
