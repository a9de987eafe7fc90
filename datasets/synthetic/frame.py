"""One synthetic frame: a street is laid out, scanned and labelled."""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.image_frustum import in_image
from kdbench.datasets.synthetic import sensor
from kdbench.datasets.synthetic.camera import CALIBRATION, IMAGE_SIZE
from kdbench.datasets.synthetic.labels import hidden_shares, label
from kdbench.datasets.synthetic.raycast import crossings
from kdbench.datasets.synthetic.returns import first_ends, points, spread_beams
from kdbench.datasets.synthetic.shape import place
from kdbench.datasets.synthetic.street import lay_out
from kdbench.geometry.kitti_labels import KittiObjects


@dataclass(frozen=True)
class Scan:
    """What one frame holds."""

    points: np.ndarray  # (n, 4) float32: x, y, z, reflectance; only those in the image
    objects: KittiObjects


def simulate(seed: int, index: int) -> Scan:
    """Frame `index` of the data set with this seed; nothing else enters."""
    rng = np.random.default_rng([seed, index])
    street = lay_out(rng)
    rays = sensor.rays(rng)
    standing = [actor.placed for actor in street.actors] + street.scenery
    solids = place(standing)
    met = crossings(rays, solids)
    tones = np.array([placed.tone for placed in standing])
    ends = first_ends(rays, met, solids, tones, street.ground, rng)
    touched = spread_beams(rays, ends, rng)
    cloud, ray = points(rays, touched, rng.uniform(0.85, 1.15), rng)
    shown = in_image(cloud, CALIBRATION, IMAGE_SIZE)
    cloud, ray = cloud[shown], ray[shown]
    count = len(street.actors)
    owner = touched.owner[ray]
    points_on = np.bincount(owner[(owner >= 0) & (owner < count)], minlength=count)
    seen = in_image(rays.direction * 30, CALIBRATION, IMAGE_SIZE)
    hidden = hidden_shares(met, solids.object[met.part], ends.distance, seen, count)
    return Scan(cloud, label(street.actors, points_on, hidden))
