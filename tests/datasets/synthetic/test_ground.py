"""The height field against ray marching."""

import numpy as np

from kdbench.datasets.synthetic import sensor
from kdbench.datasets.synthetic.ground import Axis, rolling


def make(seed: int):
    street = dict(
        axis=Axis(1.5, 0.03, 5e-4), half_width=(5.0, 4.0), kerb=0.12, walkway=2.0, beyond="grass"
    )
    return rolling(np.random.default_rng(seed), **street)


def test_rays_end_where_marching_first_comes_below_the_ground():
    rays = sensor.rays(np.random.default_rng(0))
    start = np.repeat(rays.start, len(rays.azimuth))
    rng = np.random.default_rng(1)
    for seed in range(4):
        ground = make(seed)
        distance, cosine = ground.crossings(rays)
        chosen = rng.choice(np.flatnonzero(distance < 40), 150)
        steps = np.arange(2, 60, 0.01)
        off = []
        for ray in chosen:
            x, y, z = (steps[:, None] * rays.direction[ray]).T
            below = z + start[ray] <= ground.at(x, y)
            off.append(abs(steps[np.argmax(below)] - distance[ray]) / distance[ray])
        # Neighbouring azimuths share a profile, which counts where a kerb or bump is grazed.
        assert np.quantile(off, 0.9) < 0.02
        assert np.median(off) < 0.004
        assert ((cosine >= 0) & (cosine <= 1)).all()


def test_flat_ground_in_closed_form():
    rays = sensor.rays(np.random.default_rng(0))
    ground = make(0)
    for name in ("slope", "amplitude"):
        object.__setattr__(ground, name, getattr(ground, name) * 0)
    for name in ("bend", "kerb"):
        object.__setattr__(ground, name, 0.0)
    object.__setattr__(ground, "bank", (0.0, 0.0))
    distance, _ = ground.crossings(rays)
    start = np.repeat(rays.start, len(rays.azimuth))
    exact = (start - ground.height) / -rays.direction[:, 2]
    near = (rays.direction[:, 2] < 0) & (exact < 100)
    assert np.allclose(distance[near], exact[near], rtol=2e-4)
    assert np.isinf(distance[rays.direction[:, 2] > 0]).all()


def test_materials_and_kerbs():
    ground = make(0)
    assert ground.beside(0.0, 1.5) < 0 < ground.beside(0.0, 6.0)
    step = ground.at(0.0, 5.5 + 1e-6) - ground.at(0.0, 5.5 - 1e-6)
    assert abs(step - 0.12) < 1e-4
