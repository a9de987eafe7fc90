"""kdbench: the benchmark of knowledge distillation for LiDAR 3D object detection."""

__version__ = "0.2.0"
