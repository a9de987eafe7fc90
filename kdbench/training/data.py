"""From a spec to a data set, and from a data set to batches."""

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from kdbench.dataset import Batch, Dataset, DeviceFrames, collate
from kdbench.errors import UsageError
from kdbench.registry import datasets
from kdbench.registry.options import neutral_of
from kdbench.runs.profiles import PROFILES
from kdbench.runs.settings import beyond
from kdbench.runs.spec import RunSpec
from kdbench.runs.validity import FROM_HARNESS
from kdbench.storage.home import home

AHEAD = 4  # batches prepared ahead of the one in training
WORKERS = 2  # threads; the heavy steps of augmentation release Python's lock


def build_dataset(spec: RunSpec, root: str | None = None) -> Dataset:
    """The data set of a run; frames are cropped to what the run's detector sees.

    Raises UsageError for a plugin that does not take what every run gives.
    """
    point_range = spec.detector.options.get("point_range")
    kind = datasets.get(spec.dataset.name)
    options = neutral_of(kind) | spec.dataset.options
    options |= {"root": root, "cache_dir": home(), "point_range": point_range}
    try:
        inspect.signature(kind).bind(**options)
    except TypeError as error:
        raise UsageError(
            f"data set {spec.dataset.name!r}: {error}; every run gives {', '.join(FROM_HARNESS)}"
        ) from None
    return kind(**options)


def left_out(spec: RunSpec) -> str | None:
    """A line about options that a run's profile sets and its data set does not have, if any."""
    names = beyond(spec.profile, spec.dataset.name) if spec.profile in PROFILES else []
    if not names:
        return None
    return (
        f"note: data set {spec.dataset.name!r} has no option {', '.join(names)}, which profile "
        f"{spec.profile!r} sets: its frames are taken as they are"
    )


def of_frames(spec: RunSpec, dataset: Dataset) -> RunSpec:
    """`spec` with what only the frames tell: their fingerprint, and options that were open."""
    found = {"fingerprint": dataset.fingerprint()}
    if told := dataset.recorded_options():
        found["options"] = spec.dataset.options | told
    return replace(spec, dataset=replace(spec.dataset, **found))


def epoch_order(ids: list[str], seed: int, epoch: int) -> list[str]:
    """The frames of one epoch in training order: the same for every student of a seed."""
    order = np.random.default_rng([seed, epoch]).permutation(len(ids))
    return [ids[i] for i in order]


def training_batches(
    dataset: Dataset,
    seed: int,
    epoch: int,
    batch_size: int,
    skip: int = 0,
    on_device: DeviceFrames | None = None,
) -> Iterator[Batch]:
    """Augmented batches of one epoch, from batch number `skip` on.

    A frame's augmentation is drawn from (seed, epoch, place in the epoch), so a batch is the
    same whether the epoch is run through or entered in its middle. The last batch may be
    smaller. With the data set's frames `on_device`, batches are made there.
    """
    order = epoch_order(dataset.ids("train"), seed, epoch)
    places = [range(i, min(i + batch_size, len(order))) for i in range(0, len(order), batch_size)]
    frame, batch = dataset.training_frame, collate
    if on_device is not None:
        frame, batch = on_device.plan, on_device.batch

    def make(places: range) -> Batch:
        return batch([frame(order[p], np.random.default_rng([seed, epoch, p])) for p in places])

    return _ahead(make, places[skip:])


def evaluation_batches(dataset: Dataset, ids: list[str], batch_size: int) -> Iterator[Batch]:
    """Batches of frames as recorded, in the given order."""
    groups = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
    return _ahead(lambda group: collate([dataset.frame(i) for i in group]), groups)


def _ahead(make: Callable, jobs: list) -> Iterator:
    """`make` of each job in order, made by threads a few jobs ahead."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = deque(pool.submit(make, job) for job in jobs[:AHEAD])
        try:
            for job in jobs[AHEAD:]:
                yield waiting.popleft().result()
                waiting.append(pool.submit(make, job))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
