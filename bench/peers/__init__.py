"""The baselines: what somebody would write without this project."""
