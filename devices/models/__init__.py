"""What is measured and done, one file per thing."""

from devices.models.surgery import Surgery, TrajectoryChunk

__all__ = ["Surgery", "TrajectoryChunk"]
