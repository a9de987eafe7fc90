"""What one of several processes does in `test_distributed.py`; writes what came of it to a file.

    python sharing.py FOLDER ROOT TASK ...

with RANK and WORLD_SIZE as torchrun sets them; a world of one process is the reference. ROOT is
that of a small KITTI tree. Tasks are `pieces`, `batches`, `gradients` and `DETECTOR/METHOD`, a
training.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from kdbench.runs import store
from kdbench.runs.settings import build_spec
from kdbench.taps import Rows
from kdbench.training import processes
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter
from kdbench.training.shares import own_frames, own_share, shared_batches
from kdbench.training.synced_norm import synced
from kdbench.training.whole import WholeTaps

FRAMES = 5
CPU = torch.device("cpu")


class Small(nn.Module):
    """A map with a batch norm, one without running statistics, and a layer that is never used."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3, momentum=0.3)
        self.last = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.conv(x))).square())


class Head(nn.Module):
    """Losses of a whole batch: a quotient of sums, and similarities between frames."""

    def __init__(self):
        super().__init__()
        self.adapter = nn.Linear(3, 4)

    def forward(self, taps):
        x = self.adapter(taps["map"].mean((2, 3)))
        rows = taps["rows"]
        per_frame = (
            torch.zeros(FRAMES).double().index_add(0, rows.coordinates[:, 0], rows.features[:, 0])
        )
        likeness = (x @ x.T).softmax(1)
        return {
            "quotient": x[:, 0].sum() / (x > 0).sum().clamp(min=1),
            "relation": (likeness * per_frame.exp()).square().sum(),
        }


def pieces() -> dict:
    """Gradients, outputs and statistics of Small and Head on a batch of five frames."""
    torch.manual_seed(0)
    net, head = Small().double(), Head().double()
    x = torch.randn(FRAMES, 2, 4, 4).double() + 3
    x[:2] += 5  # statistics of a share are not those of the batch

    def losses(x):
        mine = own_frames(FRAMES)
        x = x[mine.start : mine.stop]
        y = net(x)
        place = torch.zeros(len(x), 3, dtype=torch.long)
        place[:, 0] = torch.arange(len(x))
        features = y.mean((2, 3))
        taps = {"map": y, "rows": Rows(features, place, place[:, 0] + 1)}
        return head(WholeTaps(taps, mine.start) if processes.size() > 1 else taps)

    averaging = processes.averaging(losses, net, head)
    with synced(net):
        found = averaging(x)
        sum(found.values()).backward()
    gradients = {n: p.grad for m in (net, head) for n, p in m.named_parameters()}
    return {"losses": {k: v.detach() for k, v in found.items()}, "gradients": gradients,
            "state": dict(net.state_dict()), "after": net.eval()(x).detach()}  # fmt: skip


def batches(root) -> dict:
    """An epoch's batches, and the share of each."""
    found = list(shared_batches(build_dataset(spec_of("pointpillars", "none"), root), 0, 0, 3))
    return {"whole": [vars(b) for b in found], "own": [vars(own_share(b)) for b in found]}


def spec_of(detector, method):
    """Three steps, of batches of 3, 1 and 3 frames."""
    small = {"train.batch_size": 3, "train.steps": 3}
    named = {"profile": "tiny", "dataset": "kitti", "ratio": 16}
    return build_spec(detector=detector, method=method, overrides=small, **named)


def gradients(root) -> dict:
    """Losses and gradients of PointPillars and FitNet's adapters on one batch, untrained."""
    store.load_weights = lambda spec, detector: None
    spec = spec_of("pointpillars", "fitnet")
    dataset = build_dataset(spec, root)
    student, teacher, method = build_networks(spec, CPU)
    training = Training(spec, dataset, student, teacher, method, CPU, None, Reporter(True))
    training.initial_state()
    with synced(student, teacher):
        losses = training._averaging(next(iter(training.batches(0))))
        sum(losses.values()).backward()
    parts = {"student": student, "method": method}
    return {"losses": {k: v.detach() for k, v in losses.items()}} | {
        name: {n: p.grad for n, p in part.named_parameters()} for name, part in parts.items()
    }


def train(folder, root, detector, method) -> dict:
    """A training's weights, before and after. Any weights will do for a teacher."""
    store.load_weights = lambda spec, detector: None
    spec = spec_of(detector, method)
    dataset = build_dataset(spec, root)
    networks = build_networks(spec, CPU)
    parts = dict(zip(("student", "teacher", "method"), networks, strict=True))
    before = states(parts)
    training = Training(spec, dataset, *networks, CPU, folder, Reporter(True))
    if not processes.leads():
        assert processes.from_leader() == (spec, "cpu")  # as `follow` is told what to train
    return {"processes": training.run()["processes"], "before": before, "after": states(parts)}


def states(parts) -> dict:
    return {
        f"{part}.{name}": value.clone()
        for part, module in parts.items() if module
        for name, value in module.state_dict().items()
    }  # fmt: skip


def main() -> None:
    folder, root, *tasks = sys.argv[1:]
    with processes.joined():
        own = Path(folder) / f"{processes.number()}of{processes.size()}"
        found = {}
        for task in tasks:
            if task == "pieces":
                found[task] = pieces()
            elif task in ("batches", "gradients"):
                found[task] = batches(root) if task == "batches" else gradients(root)
            else:
                found[task] = train(own / task, root, *task.split("/"))
        torch.save(found, own.with_suffix(".pt"))


if __name__ == "__main__":
    main()
