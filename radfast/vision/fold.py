"""Replicate-and-normalise, folded into the first convolution.

A grey picture x is copied to three channels, channel c is normalised to ``x * scale[c] - shift[c]``, and the
first convolution pads the normalised maps with zeros. With ``w`` its weights (O, 3, h, w), the convolution of
the two channels (x, 1), padded with zeros, by

    w'[:, 0] = sum_c w[:, c] * scale[c]        w'[:, 1] = -sum_c w[:, c] * shift[c]

is the same sum: outside the picture both channels are zero, as the normalised maps are. Folding into one
channel and the bias is not: at the borders the bias would also count taps that lie outside the picture.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class GreyConvolution(nn.Conv2d):
    """The first convolution over grey values as they are stored; made by `fold_convolution`."""

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (x, 1) of grey pictures x (N, 1, H, W) to (N, O, h, w)."""
        return super().forward(torch.cat([images, torch.ones_like(images)], dim=1))


def fold_convolution(first: nn.Conv2d, scale: Tensor, shift: Tensor) -> GreyConvolution:
    """Return the convolution of (x, 1) that equals `first` on ``x * scale - shift``.

    Parameters
    ----------
    first : nn.Conv2d
        Of three channels, padded with zeros.
    scale, shift : float32 (1, 3, 1, 1)
        Of the normalisation.
    """
    # torch types every such setting as a tuple of any length.
    folded = GreyConvolution(
        2,
        first.out_channels,
        cast("tuple[int, int]", first.kernel_size),
        cast("tuple[int, int]", first.stride),
        cast("tuple[int, int] | str", first.padding),
        cast("tuple[int, int]", first.dilation),
        bias=first.bias is not None,
    ).to(first.weight)
    weight = first.weight.detach().double()
    with torch.no_grad():
        # In float64: the two sums nearly cancel in what they give to a dark picture.
        folded.weight[:, 0] = (weight * scale.double()).sum(1).to(first.weight.dtype)
        folded.weight[:, 1] = -(weight * shift.double()).sum(1).to(first.weight.dtype)
        if folded.bias is not None and first.bias is not None:
            folded.bias.copy_(first.bias)
    return folded.train(first.training)


def find_first_convolution(trunk: nn.Module) -> tuple[nn.Sequential, str] | None:
    """Return the sequence that starts with a foldable convolution, and its name there.

    None where the first layer is not known for sure, is no convolution of three channels in one group, or
    pads with anything but zeros.
    """
    place: nn.Module = trunk
    while isinstance(place, nn.Sequential) and len(place):
        name, layer = next(iter(place.named_children()))
        if isinstance(layer, nn.Sequential):
            place = layer
            continue
        plain = type(layer) is nn.Conv2d and layer.in_channels == 3 and layer.groups == 1
        return (place, name) if plain and layer.padding_mode == "zeros" else None
    return None
