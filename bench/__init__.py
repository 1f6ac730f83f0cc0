"""What one server can carry, measured beside its baselines: `python -m bench`."""
