"""The standard augmentation of small images: a random shift over a black border, and a mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shift_and_flip(
    images: Tensor, *, pad: int, flip: bool, black: Sequence[float], generator: torch.Generator
) -> Tensor:
    """New images (N, C, H, W): each padded by `pad` pixels of `black`, cropped at random, half of them mirrored.

    He et al. 2016, section 4.2. `black` is the value of a black pixel per channel, (0 - mean) / std. The draws come
    from `generator`, a CPU one, so that every device sees the same crops.
    """
    n, channels, height, width = images.shape
    border = torch.tensor(black, dtype=images.dtype, device=images.device)
    if len(border) != channels:
        border = border.expand(channels)
    padded = border.view(1, channels, 1, 1).repeat(n, 1, height + 2 * pad, width + 2 * pad)
    padded[:, :, pad : pad + height, pad : pad + width] = images
    offset = torch.randint(0, 2 * pad + 1, (n, 2), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    rows = offset[:, :1] + torch.arange(height)
    columns = torch.arange(width).expand(n, width)
    if flip:
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    columns = offset[:, 1:] + columns
    rows, columns = rows.to(images.device), columns.to(images.device)
    sample = torch.arange(n, device=images.device)
    # Advanced indices around a slice put the indexed axes first: (N, H, W, C).
    cropped = padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2).contiguous()
