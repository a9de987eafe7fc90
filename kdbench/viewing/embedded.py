"""A few small pictures of a run, for a page that holds them itself."""

import io

from kdbench.runs.spec import RunSpec
from kdbench.viewing.bird_eye import bird_eye
from kdbench.viewing.choice import HOW, differing_frames
from kdbench.viewing.scene import frames_of, make_scene, runs_to_show

SCORE = 0.3
DPI, COLOURS = 80, 48  # some 50 kB a picture


def small_pictures(spec: RunSpec, data_root: str | None = None) -> list[tuple[str, bytes]]:
    """Captions and PNGs from above of a run beside its teacher and `none`.

    Empty when detections of the run or of `none` are not in the cache. Raises KdbenchError when
    the frames cannot be had.
    """
    runs, _ = runs_to_show(spec)
    named = {run.title: run for run in runs}
    own, none = named.get(spec.method.name), named.get("none")
    if own is None or none is None or own is none:
        return []
    dataset, seen = frames_of(spec, data_root)
    pictures = []
    for frame_id in differing_frames(dataset, own, none, SCORE, seen):
        scene = make_scene(dataset, frame_id, runs, SCORE, seen)
        title = f"{spec.label}, frame {frame_id}, scores of at least {SCORE:g}"
        pictures.append((f"{title}; {HOW}.", _fewer_colours(bird_eye(scene, title, DPI))))
    return pictures


def _fewer_colours(png: bytes) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(file, format="png", optimize=True)
    return file.getvalue()
