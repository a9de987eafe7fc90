"""Distils a checkpoint of your own: a network of OpenPCDet or mmdetection3d teaches a smaller one.

python own_teacher.py network.pth network.yaml KITTI [PROFILE]

The YAML is OpenPCDet's configuration of the network; in its place stands - for a file of
mmdetection3d, which holds its settings, or for one that is as published for KITTI.
"""

import subprocess
import sys
from pathlib import Path

import kdbench

file, config, kitti, *profile = sys.argv[1:]
name = Path(file).stem
command = [sys.executable, "-m", "kdbench", "import", file, "--out", name, "--force"]
subprocess.run(command + (["--config", config] if config != "-" else []), check=True)

teacher = kdbench.load_model(name).detector
print(f"{teacher.name} of {sum(p.numel() for p in teacher.parameters()):,} parameters")
for method in ("kd", "fitnet"):  # `none`, what they are compared with, comes with them
    kdbench.run(
        method=method,
        teacher=name,
        detector=teacher.name,
        ratio=4,
        dataset="kitti",
        data_root=kitti,
        profile=(profile or ["quick"])[0],
    )
table = kdbench.read_leaderboard("results")
print(table[["label", "parameters", "bev_map", "bev_gain", "3d_map"]].to_string(index=False))
