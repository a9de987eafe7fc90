"""The pillar encoder in OpenPCDet's form: ten values a point, and what rows of zeros come to.

There a point has its offset to the pillar's centre in z too. That is z less a constant c, so any
weight `a` of it can be taken from that of z and, times c, from the norm's mean: over points the
network is the same whatever `a` is. Rows of zeros, with which `PillarVFE` fills pillars up, come
out of the norm as

    floor = shift - mean * scale / sqrt(var + eps),    mean = own mean - c * a

and so `a` says what padding does. A network with `padding` gets the floor that it has; one with a
cap on points and no padding gets floors of at most 0, which the ReLU makes the same as none.
"""

from itertools import product

import torch
from torch import Tensor

from kdbench.detectors.layers.pillar_encoder import PillarEncoder
from kdbench.errors import UsageError

REACH = 8  # steps of float32 in which values are looked for that come back to the bit


def pillar_layer(encoder: PillarEncoder, capped: bool, centre: float) -> tuple[Tensor, Tensor]:
    """Weight (C, 10) of the linear layer, and running mean (C,) of the norm after it.

    `centre` is c, `capped` whether pillars are filled up. Raises UsageError where that would change
    the network and cannot be undone: over a range whose middle is 0.
    """
    weight, mean = encoder.linear.weight.detach(), encoder.norm.running_mean
    over_centre = torch.zeros_like(mean)
    of_z = weight[:, 2]
    floor = _floor(encoder, mean)
    wanted = encoder.floor if encoder.padding else floor.clamp(max=0)
    other = (wanted != floor) & (encoder.norm.weight != 0)
    if capped and other.any():
        if centre == 0:
            raise UsageError(
                "OpenPCDet fills capped pillars up with zeros, and over a point_range that is the "
                "same above and below 0 nothing makes up for that"
            )
        found = _solved(encoder, centre, wanted)
        over_centre, of_z, mean = (
            torch.where(other, a, b) for a, b in zip(found, (over_centre, of_z, mean), strict=True)
        )
    columns = [*weight[:, :2].T, of_z, *weight[:, 3:].T, over_centre]
    return torch.stack(columns, dim=1), mean


def _floor(encoder: PillarEncoder, mean: Tensor) -> Tensor:
    """What rows of zeros become in a norm with that mean."""
    norm = encoder.norm
    scale, shift, var = (x.detach().double() for x in (norm.weight, norm.bias, norm.running_var))
    return (shift - mean.double() * scale / (var + norm.eps).sqrt()).float()


def _solved(encoder: PillarEncoder, centre: float, floor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the offset and of z, and means, for floors (C,).

    They are the first, from the solution on, of which float32 makes the same network to the bit;
    where there are none, as may be for floors that no file had, the solution but for rounding.
    """
    norm, of_z = encoder.norm, encoder.linear.weight.detach()[:, 2]
    scale, shift, var, own = (
        x.detach().double() for x in (norm.weight, norm.bias, norm.running_var, norm.running_mean)
    )
    base = ((shift - floor.double()) * (var + norm.eps).sqrt() / scale).float()
    best, missing = None, torch.ones_like(floor, dtype=torch.bool)
    steps = sorted(range(-REACH, REACH + 1), key=abs)
    for i, j in product(steps, steps):
        mean = _moved(base, i)
        over = _moved(((own - mean.double()) / centre).float(), j)
        z = (of_z.double() - over.double()).float()
        exact = (_floor(encoder, mean) == floor) & ((z.double() + over.double()).float() == of_z)
        exact &= (mean.double() + centre * over.double()).float() == norm.running_mean
        new = (over, z, mean)
        best = new if best is None else tuple(
            torch.where(exact & missing, a, b) for a, b in zip(new, best, strict=True)
        )  # fmt: skip
        missing &= ~exact
    return best


def _moved(x: Tensor, steps: int) -> Tensor:
    """The numbers so many steps of float32 further."""
    towards = torch.full_like(x, float("inf") if steps > 0 else -float("inf"))
    for _ in range(abs(steps)):
        x = torch.nextafter(x, towards)
    return x
