"""Bilinear resize with antialiasing, in blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1024  # images at a time: the filter's scratch stays small


def resize(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) at (N, C, side, side): bilinear, antialiased when shrinking, pixel centres aligned.

    The convention of torchvision's `resize(antialias=True)` on tensors and of Pillow's BILINEAR. The given tensor is
    left as it is; at its own size it is given back.
    """
    if images.shape[-2:] == (side, side):
        return images
    out = torch.empty(*images.shape[:2], side, side, dtype=images.dtype)
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        out[start : start + BLOCK] = F.interpolate(
            block, size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )
    return out
