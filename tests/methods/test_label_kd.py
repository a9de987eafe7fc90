"""What a teacher adds to the labels."""

import torch

from kdbench.dataset import Batch
from kdbench.detector import Detections
from kdbench.methods.label_kd import LabelKD

LABELLED = torch.tensor([[10.0, 0, -1, 4, 2, 1.5, 0]])


class Teacher:
    """Finds the same in each frame: boxes by x, y, score and class."""

    def __init__(self, *found):
        self.found = found

    def predict(self, taps):
        boxes = torch.tensor([[x, y, -1, 4, 2, 1.5, 0.0] for x, y, _, _ in self.found])
        scores = torch.tensor([s for _, _, s, _ in self.found])
        labels = torch.tensor([c for *_, c in self.found], dtype=torch.long)
        return [Detections(boxes.view(-1, 7), scores, labels) for _ in range(taps["frames"])]


def relabelled(*found, boxes=LABELLED, **options):
    frames = [boxes, boxes[:0]]
    labels = [torch.ones(len(b), dtype=torch.long) for b in frames]
    batch = Batch(["a", "b"], torch.zeros(0, 5), frames, labels)
    method = LabelKD({}, {}, **options)
    after = method.relabel(batch, Teacher(*found), {"frames": 2})
    assert torch.equal(batch.boxes[0], boxes) and len(batch.boxes[1]) == 0  # as it was
    return after, method


def test_a_sure_detection_away_from_labels_is_added():
    after, method = relabelled((20.0, 5.0, 0.7, 2))
    assert torch.equal(after.boxes[0][:1], LABELLED)
    assert after.boxes[0][1].tolist() == [20, 5, -1, 4, 2, 1.5, 0]
    assert after.labels[0].tolist() == [1, 2]
    assert after.labels[1].tolist() == [2] and after.boxes[1].shape == (1, 7)
    assert method.logs["labels_added"] == 2
    assert method(None, None, after) == {}


def test_what_touches_a_label_is_not_added_whatever_its_class():
    after, _ = relabelled((13.9, 0.0, 0.99, 0), (14.1, 0.0, 0.99, 0))  # cars are 4 m long
    assert after.boxes[0][:, 0].tolist() == [10.0, 14.100000381469727]
    assert len(after.boxes[1]) == 2


def test_cars_must_be_surer_than_others():
    after, _ = relabelled((20.0, 5.0, 0.55, 0), (30.0, 5.0, 0.55, 1), (40.0, 5.0, 0.45, 2))
    assert after.labels[1].tolist() == [1]


def test_the_last_score_goes_on_for_further_classes():
    found = [(20.0, 5.0, 0.75, 0), (30.0, 5.0, 0.75, 1), (40.0, 5.0, 0.75, 7)]
    after, _ = relabelled(*found, scores=[0.7, 0.8])
    assert after.labels[1].tolist() == [0]


def test_no_detection_leaves_the_labels():
    after, _ = relabelled()
    assert torch.equal(after.boxes[0], LABELLED) and len(after.boxes[1]) == 0
