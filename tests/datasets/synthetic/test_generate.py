"""Same seed, same bytes; resumable; extensible."""

import hashlib

import numpy as np
import pytest

from kdbench.datasets.synthetic import generate as module
from kdbench.datasets.synthetic.dataset import Synthetic
from kdbench.datasets.synthetic.frame import simulate
from kdbench.datasets.synthetic.generate import generate
from kdbench.errors import UsageError


def digest(root) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    assert generate(root, 3, 6, 2, workers=1) == 8
    return root


def test_two_workers_write_the_same_bytes(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WORTH_A_POOL", 0)
    seen = []
    generate(tmp_path, 3, 6, 2, workers=2, progress=lambda *state: seen.append(state))
    assert digest(tmp_path) == digest(tree)
    assert seen == [(k, 8) for k in range(1, 9)]


def test_a_killed_run_goes_on(tree, tmp_path, monkeypatch):
    def dies(job):
        if job[2] == 3:
            (job[0] / "training/velodyne/.000003.bin.half").write_bytes(b"half")
            raise KeyboardInterrupt
        write(job)

    write = module._write_frame
    monkeypatch.setattr(module, "_write_frame", dies)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, 3, 6, 2, workers=1)
    monkeypatch.undo()
    (tmp_path / "training/label_2/000001.txt").unlink()
    assert generate(tmp_path, 3, 6, 2, workers=1) == 6
    assert digest(tmp_path) == digest(tree)


def test_a_larger_request_keeps_the_frames_of_a_smaller_one(tree, tmp_path):
    generate(tmp_path, 3, 2, 1, workers=1)
    small = digest(tmp_path / "training")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "training").rglob("*.bin")}
    assert generate(tmp_path, 3, 6, 2, workers=1) == 5
    assert digest(tmp_path) == digest(tree)
    assert small.items() <= digest(tmp_path / "training").items()
    assert all(p.stat().st_mtime_ns == t for p, t in times.items())
    assert generate(tmp_path, 3, 2, 1, workers=1) == 0  # and a smaller one takes none away
    assert digest(tmp_path) == digest(tree)


def test_splits_seeds_and_frames_are_different_streets(tree):
    ids = [(tree / f"ImageSets/{split}.txt").read_text().split() for split in ("train", "val")]
    assert ids[0] == [f"{k:06d}" for k in range(6)] and ids[1] == ["500000", "500001"]
    clouds = [p.read_bytes() for p in (tree / "training/velodyne").iterdir()]
    assert len(set(clouds)) == 8
    assert simulate(4, 0).points.tobytes() != simulate(3, 0).points.tobytes()


def test_another_seed_or_a_foreign_folder_is_refused(tree, tmp_path):
    with pytest.raises(UsageError, match="another folder"):
        generate(tree, 4, 7, 2)
    (tmp_path / "training").mkdir()
    with pytest.raises(UsageError, match="another data set"):
        generate(tmp_path, 0, 1, 1)
    with pytest.raises(UsageError, match="frames"):
        generate(tmp_path / "new", 0, -1, 1)


def test_the_data_set_makes_its_frames_and_reads_them(tmp_path, tree):
    options = dict(cache_dir=tmp_path, seed=3)
    dataset = Synthetic(train_frames=4, val_frames=1, **options)
    assert dataset.ids("train") == ["000000", "000001", "000002", "000003"]
    assert dataset.ids("val") == ["500000"]
    assert dataset.verify() == []
    frame = dataset.frame("000001")
    assert frame.points.tobytes() == (tree / "training/velodyne/000001.bin").read_bytes()
    assert frame.image_size == (1242, 375)
    larger = Synthetic(train_frames=6, val_frames=1, **options)
    again = Synthetic(train_frames=4, val_frames=1, **options)
    assert again.fingerprint() == dataset.fingerprint() != larger.fingerprint()
    given = Synthetic(root=tree, train_frames=4, val_frames=1, cache_dir=tmp_path)
    assert given.fingerprint() == dataset.fingerprint()


def test_clouds_are_plausible():
    for index in range(4):
        points = simulate(0, index).points
        assert points.dtype == np.float32 and 12_000 < len(points) < 24_000
        assert np.isfinite(points).all()
        assert ((points[:, 3] >= 0) & (points[:, 3] < 1)).all()
        assert np.linalg.norm(points[:, :3], axis=1).max() < 80.5
        assert (points[:, 0] > 0).all()
