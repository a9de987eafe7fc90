import io

import numpy as np
import pytest
from PIL import Image

from kdbench.dataset import Frame
from kdbench.evaluation.outcomes import Outcome
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.projection import image_boxes
from kdbench.viewing.bird_eye import bird_eye
from kdbench.viewing.camera import EDGES, camera_view, strokes
from kdbench.viewing.choice import extremes
from kdbench.viewing.embedded import _fewer_colours
from kdbench.viewing.scene import Panel, Scene
from kdbench.viewing.style import FOUND, TRUTH, summary

RANGE = (0.0, -10.0, -3.0, 30.0, 10.0, 1.0)
CALIBRATION = Calibration(
    p2=np.array([[700.0, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]]),
    r0=np.eye(3),
    velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]]),
)


def panel(title: str, found=(1, 0), truth=(1, 0, -1)) -> Panel:
    boxes = np.array([[10.0 + 5 * i, 1, -1, 4, 1.6, 1.5, 0.3] for i in range(len(found))])
    result = Outcome(np.array(truth, np.int8), np.array(found, np.int8))
    return Panel(title, boxes.reshape(-1, 7), np.linspace(0.9, 0.4, len(found)), result)


def scene(*panels: Panel, points: int = 200, image=None) -> Scene:
    rng = np.random.default_rng(0)
    cloud = rng.uniform((0, -10, -2, 0), (30, 10, 1, 1), (points, 4)).astype(np.float32)
    truth = np.array([[10.0, 1, -1, 4, 1.6, 1.5, 0.2], [20, -4, -1, 1, 1, 1.8, 0],
                      [25, 5, -1, 5, 2, 2, 1]])  # fmt: skip
    frame = Frame("7", cloud, truth, np.zeros(3, np.int64), CALIBRATION, (1200, 360))
    return Scene(frame, RANGE, truth, panels, 0.3, image)


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), np.int64)


def has_colour(image: np.ndarray, colour: str) -> bool:
    """Whether any pixel is nearly of a colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(image - wanted).max(axis=2) < 12).any())


def test_hits_and_misses_differ_by_colour_and_by_line():
    kinds = [*TRUTH.values(), *FOUND.values()]
    assert len({line.colour for line in kinds}) == len(kinds)
    for lines in (TRUTH, FOUND):
        assert len({str(line.style) for line in lines.values()}) == len(lines)


def test_what_is_drawn_depends_on_the_verdict():
    all_right = pixels(bird_eye(scene(panel("a", (1, 1), (1, 1, 1))), "t", dpi=60))
    all_wrong = pixels(bird_eye(scene(panel("a", (0, 0), (0, 0, 0))), "t", dpi=60))
    legend = int(0.85 * len(all_right))  # below it every kind is shown
    assert has_colour(all_right[:legend], FOUND[1].colour)
    assert not has_colour(all_right[:legend], FOUND[0].colour)
    assert has_colour(all_wrong[:legend], FOUND[0].colour)
    assert not has_colour(all_wrong[:legend], FOUND[1].colour)


def test_a_panel_a_run():
    one, three = (
        pixels(bird_eye(scene(*[panel(str(i)) for i in range(n)]), "t", dpi=60)) for n in (1, 3)
    )
    assert three.shape[1] == pytest.approx(3 * one.shape[1], abs=3)
    assert three.shape[0] == one.shape[0]


def test_the_same_scene_gives_the_same_bytes():
    assert bird_eye(scene(panel("a")), "t", 60) == bird_eye(scene(panel("a")), "t", 60)


def test_frames_with_nothing_in_them_can_be_drawn():
    nothing = panel("a", (), (1, 1, 1))
    assert pixels(bird_eye(scene(nothing, points=0), "t", dpi=40)).std() > 0


def test_a_title_tells_how_it_went():
    assert summary(panel("kd")) == "kd: 1 of 2 found, 1 false alarm"
    assert summary(panel("kd", (0, 0, 1))) == "kd: 1 of 2 found, 2 false alarms"


def test_the_camera_shows_a_panel_a_run_over_its_image(tmp_path):
    path = tmp_path / "7.png"
    Image.fromarray(np.full((360, 1200, 3), 30, np.uint8)).save(path)
    two = pixels(camera_view(scene(panel("a"), panel("b"), image=path), "t", dpi=50))
    dark = (two.max(axis=2) < 40).mean(axis=1) > 0.5  # rows of pixels of the images
    assert (np.diff(dark.astype(int)) == 1).sum() == 2


def test_strokes_fill_the_box_in_the_image():
    rng = np.random.default_rng(0)
    boxes = np.column_stack([
        rng.uniform(8, 40, 30), rng.uniform(-8, 8, 30), rng.uniform(-2, 0, 30),
        rng.uniform(0.5, 5, (30, 3)), rng.uniform(-3, 3, 30),
    ])  # fmt: skip
    lines = np.concatenate([strokes(boxes, CALIBRATION, path) for path in EDGES], axis=1)
    around = np.concatenate([lines.min(axis=1), lines.max(axis=1)], axis=1)
    assert np.allclose(around, image_boxes(boxes, CALIBRATION))


def test_nothing_is_drawn_behind_the_camera():
    boxes = np.array([[-10.0, 0, 0, 4, 2, 2, 0], [0.0, 0, 0, 6, 2, 2, 0]])
    behind, around = strokes(boxes, CALIBRATION, EDGES[0])
    assert np.isnan(behind).all()
    assert np.isnan(around).any() and np.isfinite(around).any()


def test_every_edge_once():
    pairs = [frozenset(p) for path in EDGES for p in zip(path, path[1:], strict=False)]
    assert len(pairs) == len(set(pairs)) == 12


def test_the_frames_of_the_largest_difference_both_ways():
    assert extremes({"a": 0, "b": 3, "c": -2, "d": 3, "e": -2}) == ["b", "c"]
    assert extremes({"a": 1, "b": 1}) == ["a"]


def test_fewer_colours_are_fewer_bytes():
    png = bird_eye(scene(panel("a")), "t", 60)
    small = _fewer_colours(png)
    assert len(small) < len(png)
    assert np.abs(pixels(small) - pixels(png)).mean() < 3
