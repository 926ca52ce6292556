"""Every classifier of torchvision by its own name, built by torchvision's own functions.

The table is written out so that a catalogue needs no torchvision; a test holds it against `torchvision.models`. The
smallest sizes were found by running each family at every size in training and evaluation mode, not taken from papers.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct
from torch import nn

from .entry import Build, ModelEntry

Probability = Annotated[float, Meta(ge=0, lt=1)]


class ZooOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of every torchvision model."""

    weights: str = "DEFAULT"  # which published weights `pretrained` means, by torchvision's name: IMAGENET1K_V1, ...


class DropoutOptions(ZooOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a model with dropout."""

    dropout: Probability | None = None  # None: torchvision's own


class AuxOptions(DropoutOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a model with auxiliary classifiers, which only training uses."""

    aux: bool | None = None  # None: with them where the image is large enough
    transform_input: bool = (
        False  # from ImageNet's normalisation to [-1, 1], which the published weights were trained on
    )


INCEPTION_AUX = 299  # below, its auxiliary classifier's 5 x 5 convolution finds fewer than 5 x 5 pixels


class Family(Struct, frozen=True, kw_only=True):
    """The models of one paper: what they share."""

    names: str
    title: str
    heads: tuple[str, ...]
    smallest: int = 1
    options: type[Struct] = ZooOptions
    aux_weights: tuple[float, ...] = ()
    multiple: int = 1
    size_argument: str | None = None  # the name under which torchvision takes the image's size
    dropout_argument: str = "dropout"


FAMILIES = (
    Family(names="alexnet", title="AlexNet", heads=("classifier.6",), smallest=63, options=DropoutOptions),
    Family(
        names="convnext_tiny convnext_small convnext_base convnext_large",
        title="ConvNeXt",
        heads=("classifier.2",),
        smallest=32,
    ),
    Family(
        names="densenet121 densenet161 densenet169 densenet201",
        title="DenseNet",
        heads=("classifier",),
        smallest=29,
        options=DropoutOptions,
        dropout_argument="drop_rate",
    ),
    Family(
        names="efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 "
        "efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l",
        title="EfficientNet",
        heads=("classifier.1",),
        options=DropoutOptions,
    ),
    Family(
        names="googlenet",
        title="GoogLeNet",
        heads=("fc", "aux1.fc2", "aux2.fc2"),
        smallest=15,
        options=AuxOptions,
        aux_weights=(0.3, 0.3),
    ),
    Family(
        names="inception_v3",
        title="Inception v3",
        heads=("fc", "AuxLogits.fc"),
        smallest=75,
        options=AuxOptions,
        aux_weights=(0.4,),
    ),
    # Partitions of 7 x 7 at five resolutions: no side but multiples of 7 * 32 divides at each.
    Family(
        names="maxvit_t",
        title="MaxViT",
        heads=("classifier.5",),
        smallest=224,
        multiple=224,
        size_argument="input_size",
    ),
    Family(
        names="mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3",
        title="MNASNet",
        heads=("classifier.1",),
        options=DropoutOptions,
    ),
    Family(names="mobilenet_v2", title="MobileNet v2", heads=("classifier.1",), options=DropoutOptions),
    Family(
        names="mobilenet_v3_large mobilenet_v3_small",
        title="MobileNet v3",
        heads=("classifier.3",),
        options=DropoutOptions,
    ),
    Family(
        names="regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf "
        "regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf "
        "regnet_y_128gf",
        title="RegNet",
        heads=("fc",),
    ),
    Family(names="resnet18 resnet34 resnet50 resnet101 resnet152", title="ResNet", heads=("fc",)),
    Family(names="resnext50_32x4d resnext101_32x8d resnext101_64x4d", title="ResNeXt", heads=("fc",)),
    Family(
        names="shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0",
        title="ShuffleNet v2",
        heads=("fc",),
    ),
    Family(names="squeezenet1_0", title="SqueezeNet", heads=("classifier.1",), smallest=21, options=DropoutOptions),
    Family(names="squeezenet1_1", title="SqueezeNet", heads=("classifier.1",), smallest=17, options=DropoutOptions),
    Family(
        names="swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b",
        title="Swin transformer",
        heads=("head",),
        smallest=4,
        options=DropoutOptions,
    ),
    Family(
        names="vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn",
        title="VGG",
        heads=("classifier.6",),
        smallest=32,
        options=DropoutOptions,
    ),
    *(
        Family(
            names=names,
            title="Vision transformer",
            heads=("heads.head",),
            smallest=patch,
            multiple=patch,
            options=DropoutOptions,
            size_argument="image_size",
        )
        for names, patch in (("vit_b_16 vit_l_16", 16), ("vit_b_32 vit_l_32", 32), ("vit_h_14", 14))
    ),
    Family(names="wide_resnet50_2 wide_resnet101_2", title="Wide ResNet", heads=("fc",)),
)


def with_aux(name: str, options: AuxOptions, image_size: int) -> bool:
    """Whether the auxiliary classifiers are there."""
    if options.aux is not None:
        return options.aux
    return name != "inception_v3" or image_size >= INCEPTION_AUX


def make(name: str, family: Family, build: Build) -> nn.Module:
    """The model from torchvision's builder, without weights of its own."""
    from torchvision import models

    arguments: dict[str, Any] = {"num_classes": build.num_classes}
    options = build.options
    if isinstance(options, DropoutOptions) and options.dropout is not None:
        arguments[family.dropout_argument] = options.dropout
    if isinstance(options, AuxOptions):
        arguments["aux_logits"] = with_aux(name, options, build.image_size)
        arguments["init_weights"] = True
        arguments["transform_input"] = options.transform_input
    if family.size_argument == "image_size":
        arguments["image_size"] = build.image_size
    elif family.size_argument == "input_size":
        arguments["input_size"] = (build.image_size, build.image_size)
    return models.get_model(name, weights=None, **arguments)


def entry(name: str, family: Family) -> ModelEntry:
    return ModelEntry(
        name=name,
        family="torchvision",
        summary=f"torchvision's {family.title} {name}" if family.title.lower() != name else f"torchvision's {name}",
        make=lambda build: make(name, family, build),
        heads=family.heads,
        min_image_size=family.smallest,
        min_size_for=(lambda options: INCEPTION_AUX if options.aux else family.smallest)
        if name == "inception_v3"
        else None,
        image_multiple=family.multiple,
        in_channels=3,
        options=family.options,
        aux_weights=family.aux_weights,
        pretrained=True,
    )


ENTRIES = tuple(entry(name, family) for family in FAMILIES for name in family.names.split())
