"""Points that others have published, drawn beside one's own. ImageNet validation, top-1 in %, size of weights in MiB as published."""
from __future__ import annotations

from typing import NamedTuple


class Point(NamedTuple):
    network: str
    blocks: str
    mib: float
    top1: float


class Source(NamedTuple):
    name: str
    citation: str
    link: str
    points: tuple[Point, ...]


SOURCES = (
    Source("Stock et al. 2020", "P. Stock, A. Joulin, R. Gribonval, B. Graham, H. Jégou: And the Bit Goes Down: Revisiting the "
           "Quantization of Neural Networks. ICLR 2020. Figures of the released networks, k = 256, from the README of the authors' "
           "repository (facebookresearch/kill-the-bits).", "https://arxiv.org/abs/1907.05686",
           (Point("ResNet-18", "large", 1.03, 61.18), Point("ResNet-18", "small", 1.54, 65.81),
            Point("ResNet-50", "large", 3.19, 68.21), Point("ResNet-50", "small", 5.09, 73.79))),
    Source("PQF, Martinez et al. 2021", "J. Martinez, J. Shewakramani, T. W. Liu, I. A. Bârsan, W. Zeng, R. Urtasun: Permute, Quantize, "
           "and Fine-tune: Efficient Compression of Neural Networks. CVPR 2021. Figures of the released networks, k = 256, from the "
           "README of the authors' repository (uber-research/permute-quantize-finetune).", "https://arxiv.org/abs/2010.15703",
           (Point("ResNet-18", "large", 1.03, 63.33), Point("ResNet-18", "small", 1.54, 66.74),
            Point("ResNet-50", "large", 3.19, 72.18), Point("ResNet-50", "small", 5.09, 75.04))))
# The uncompressed networks of both (torchvision's), from the same tables: fp32 parameters, top-1.
UNCOMPRESSED = (Point("ResNet-18", "", 44.59, 69.76), Point("ResNet-50", "", 97.49, 76.15))
