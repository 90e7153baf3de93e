"""Compensators: estimates of what skipped neurons would have added."""
