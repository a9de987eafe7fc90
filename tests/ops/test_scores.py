import torch

from kdbench.ops.scores import likely_anchors, with_background


def test_odds_against_the_background_are_those_of_the_sigmoids():
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    p = torch.softmax(with_background(z), dim=1)
    sigmoid = torch.sigmoid(z)
    torch.testing.assert_close(p[:, 1:] / p[:, :1], sigmoid / (1 - sigmoid))


def test_likely_anchors_are_each_frames_own():
    z = torch.full((2, 2, 3, 2, 3), -5.0)
    z[0, 1, 2, 0, 1] = 2.0  # anchor (1 * 3 + 2) * 2 + 0 = 10 of 12
    z[0, 0, 0, 1, 2] = 1.0  # anchor 1
    z[1, 0, 1, 1, 0] = -1.0  # anchor 12 + 3
    assert likely_anchors(z, 1).tolist() == [10, 15]
    assert likely_anchors(z, 2)[:2].tolist() == [10, 1]
    assert likely_anchors(z, 1000).sort().values.tolist() == list(range(24))


def test_several_fair_classes_count_for_more_than_one_a_little_better():
    z = torch.tensor([[0.1, -9.0, -9.0], [0.0, 0.0, 0.0]]).view(1, 1, 1, 2, 3)
    assert likely_anchors(z, 1).tolist() == [1]
