"""Segmentation networks, each in a process of its own: offline, without telemetry, from weights that are already there."""
