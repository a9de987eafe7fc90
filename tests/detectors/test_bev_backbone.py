import pytest
import torch

from kdbench.detectors.layers.bev_backbone import Upsampling


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_upsampling_is_the_transposed_convolution(factor):
    torch.manual_seed(0)
    layer = Upsampling(5, 3, factor)
    x = torch.randn(2, 5, 4, 6, requires_grad=True)
    expected = torch.nn.functional.conv_transpose2d(x, layer.weight, stride=factor)
    found = layer(x)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    gradients = [
        torch.autograd.grad((y * weights).sum(), (x, layer.weight)) for y in (found, expected)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])
