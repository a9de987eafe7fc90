"""What the frames of a KITTI tree are, told by the contents of their files.

A file is hashed once and then known by its path, size, times of change and inode: KITTI's 14 GB are
read once, while bytes that are corrected in place, which leave the size as it is, are new data.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kdbench.datasets.progress import progress_bar
from kdbench.storage.files import write_text

WORKERS = 4  # hashing releases Python's lock
FILES = ("velodyne/{}.bin", "label_2/{}.txt", "calib/{}.txt")  # of a frame, below `training`


def tree_fingerprint(
    root: Path,
    splits: Mapping[str, Sequence[str]],
    cache_dir: Path | None,
    files: Sequence[str] = FILES,
) -> str:
    """Twelve hex digits over the ids of each split and the bytes of their frames' `files`.

    Hashes of files are kept below `cache_dir`, if there is one. Raises OSError for a file that
    cannot be read.
    """
    names = [name.format(i) for ids in splits.values() for i in ids for name in files]
    hashes = dict(zip(names, _hashes(root / "training", names, cache_dir), strict=True))
    digest = hashlib.sha256()
    for split, ids in splits.items():
        digest.update(f"{split}\n".encode())
        for frame_id in ids:
            contents = " ".join(hashes[name.format(frame_id)] for name in files)
            digest.update(f"{frame_id} {contents}\n".encode())
    return digest.hexdigest()[:12]


def _hashes(folder: Path, names: Sequence[str], cache_dir: Path | None) -> list[str]:
    """SHA-256 of each file."""
    cache = _cache_file(folder, cache_dir)
    known = _read(cache)
    stamps = [_stamp(folder / name) for name in names]
    new = [i for i, name in enumerate(names) if known.get(name, [None])[:-1] != stamps[i]]
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar("hashing files") as show:
        made = pool.map(lambda i: _hash(folder / names[i]), new)
        for done, (i, found) in enumerate(zip(new, made, strict=True), start=1):
            known[names[i]] = [*stamps[i], found]
            show(done, len(new))
    if new and cache is not None:
        write_text(cache, json.dumps(known))
    return [known[name][-1] for name in names]


def _cache_file(folder: Path, cache_dir: Path | None) -> Path | None:
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return None if cache_dir is None else cache_dir / "fingerprints" / f"{name}.json"


def _read(cache: Path | None) -> dict[str, list]:
    """What is known of files; nothing where the cache is absent or damaged."""
    try:
        known = json.loads(cache.read_text()) if cache else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _stamp(path: Path) -> list[int]:
    """What changes when a file is written to, even with the same number of bytes."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
