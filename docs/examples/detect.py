"""Loads a trained student and detects in a cloud.

python detect.py results/.../seed0-<hash>.json cloud.bin     (float32: x, y, z, reflectance)

In place of the record's path may stand the name or hash of a published run (`kdbench zoo`).
"""

import sys

import numpy as np

import kdbench

record, cloud = sys.argv[1:]
model = kdbench.load_model(record)
boxes, scores, classes = model.predict(np.fromfile(cloud, np.float32).reshape(-1, 4))
for name, score, box in zip(classes, scores, boxes, strict=True):
    print(name, f"{score:.3f}", *box.round(2))
print(f"{len(boxes)} objects", file=sys.stderr)
