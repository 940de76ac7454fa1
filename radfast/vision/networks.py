"""AlexNet, VGG-16 and VGG-19 with several heads on one trunk.

The trunk's state-dict keys are torchvision's (``features.N.*``, ``classifier.N.*`` up to the penultimate
layer), so that its ImageNet weights load. Sources: Krizhevsky, "One weird trick for parallelizing
convolutional neural networks" (2014), the AlexNet of torchvision; Simonyan and Zisserman, "Very deep
convolutional networks for large-scale image recognition" (ICLR 2015), configurations D and E.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from radfast.errors import UsageError
from radfast.vision.fold import find_first_convolution, fold_convolution
from radfast.vision.weights import load_trunk

NETWORKS = ("alexnet", "vgg16", "vgg19")
#: Mean and standard deviation of ImageNet's red, green and blue, of pixels scaled to 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_VGG = {
    "vgg16": ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    "vgg19": ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
}
_SMALLEST = {"alexnet": 63, "vgg16": 32, "vgg19": 32}


class AdaptiveMean(nn.Module):
    """Adaptive average pooling to a fixed size, as two products with constant matrices.

    Equal to ``nn.AdaptiveAvgPool2d``; unlike it, every size exports to ONNX and the gradient is deterministic
    on CUDA.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        """Average maps (N, C, H, W) to (N, C, size, size)."""
        height, width = maps.shape[-2:]
        if height != self.size:
            maps = _mean_matrix(height, self.size).to(maps) @ maps
        if width != self.size:
            maps = maps @ _mean_matrix(width, self.size).to(maps).T
        return maps


def _mean_matrix(length: int, size: int) -> Tensor:
    rows = []
    for cell in range(size):
        start, end = cell * length // size, -(-(cell + 1) * length // size)
        rows.append([1 / (end - start) if start <= place < end else 0.0 for place in range(length)])
    return torch.tensor(rows)


class Network(nn.Module):
    """A trunk with one linear head per output; takes grey or colour pictures as they are stored.

    Attributes
    ----------
    image_shape : tuple of int
        (channels, H, W) of the pictures it is made for.
    heads : nn.ModuleDict
        Head name to its linear layer.
    folded : bool
        The normalisation is inside the first convolution: see `fold_grey`.
    """

    folded = False
    scale: Tensor
    shift: Tensor

    def __init__(self, embedding: int, heads: Mapping[str, int], image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape
        std = torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1) / std, persistent=False)
        self.heads = nn.ModuleDict({name: nn.Linear(embedding, size) for name, size in heads.items()})

    def normalise(self, images: Tensor) -> Tensor:
        """Replicate grey to three channels and subtract ImageNet's mean: (N, 1|3, H, W) to (N, 3, H, W)."""
        if images.ndim != 4 or images.shape[1] != self.image_shape[0]:
            raise UsageError(
                f"[forward] images must be (N, {self.image_shape[0]}, H, W), have shape {tuple(images.shape)}"
            )
        values = images.to(self.scale.dtype)
        return values if self.folded else values * self.scale - self.shift

    def fold_grey(self) -> Network:
        """Return a copy that computes the same with the normalisation inside its first convolution.

        The copy convolves (x, 1) in place of three normalised channels; see `radfast.vision.fold`. It is the
        network itself, copied, where pictures have three channels or the first layer cannot be folded. Its
        state dict differs in the first layer: it is for inference, not for a file.
        """
        folded = copy.deepcopy(self)
        found = find_first_convolution(folded._entry())
        if self.image_shape[0] == 1 and not self.folded and found is not None:
            place, name = found
            first = place.get_submodule(name)
            assert isinstance(first, nn.Conv2d)
            setattr(place, name, fold_convolution(first, self.scale, self.shift))
            folded.folded = True
        return folded

    def _entry(self) -> nn.Module:
        """Return the part of the trunk that reads the normalised pictures first."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """Return the features (N, F) that the heads read."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute every head.

        Parameters
        ----------
        images : uint8 or float32 (N, 1|3, H, W)
            Grey values from 0 to 255, whichever the dtype.

        Returns
        -------
        dict of str to float32 (N, C)
            Logits of class heads, the vector itself of the head "vector".
        """
        features = self.embed(images)
        return {name: head(features) for name, head in self.heads.items()}


class ClassicNetwork(Network):
    """AlexNet or VGG: ``features``, pooling to a fixed size, ``classifier`` without its last layer."""

    def __init__(
        self, name: str, heads: Mapping[str, int], width: float, image_shape: tuple[int, int, int]
    ) -> None:
        hidden = _scale_width(4096, width)
        super().__init__(hidden, heads, image_shape)
        if name == "alexnet":
            self.features, channels, cells = _make_alexnet(width), _scale_width(256, width), 6
            self.classifier = nn.Sequential(
                nn.Dropout(), nn.Linear(channels * cells * cells, hidden), nn.ReLU(inplace=True),
                nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            )  # fmt: skip
        else:
            self.features, channels, cells = _make_vgg(_VGG[name], width), _scale_width(512, width), 7
            self.classifier = nn.Sequential(
                nn.Linear(channels * cells * cells, hidden), nn.ReLU(inplace=True), nn.Dropout(),
                nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(),
            )  # fmt: skip
        self.avgpool = AdaptiveMean(cells)

    def _entry(self) -> nn.Module:
        return self.features

    def embed(self, images: Tensor) -> Tensor:
        """Return the output (N, F) of the penultimate layer."""
        maps = self.avgpool(self.features(self.normalise(images)))
        features: Tensor = self.classifier(maps.flatten(1))
        return features


class WrappedNetwork(Network):
    """Heads on any module: on the mean of its ``features`` where it has some, else on what it returns."""

    def __init__(
        self, module: nn.Module, embedding: int, heads: Mapping[str, int], image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(embedding, heads, image_shape)
        self.trunk = module

    def _entry(self) -> nn.Module:
        part = getattr(self.trunk, "features", None)
        return part if isinstance(part, nn.Module) else self.trunk

    def embed(self, images: Tensor) -> Tensor:
        """Return the module's features (N, F)."""
        return _read_features(self.trunk, self.normalise(images))


def build(
    network: str | nn.Module,
    heads: Mapping[str, int],
    width: float = 1.0,
    weights: Path | str | None = None,
    in_channels: int = 1,
    *,
    size: int = 224,
    seed: int = 0,
) -> Network:
    """Build a network with one output per head.

    Parameters
    ----------
    network : str or nn.Module
        "alexnet", "vgg16", "vgg19", or a module that turns normalised pictures (N, 3, H, W) into features
        (N, F) or maps (N, F, h, w); of a module with a part named ``features`` that part is used.
    heads : mapping of str to int
        Outputs, for example ``{"document": 60, "second": 385, "sentence": 717, "vector": 512}``.
    width : float
        Share of the channels, above 0 to 1. Full-width weights fit 1 only.
    weights : path, optional
        Trunk weights as .safetensors or .pth (state dict) with torchvision's keys; its last layer and the
        heads of a radfast file are left out. For a module: its own keys.
    in_channels : int
        1 for grey pictures, which are replicated to three channels, or 3.
    size : int
        Side of the pictures, pixels.
    seed : int
        Of the initial weights (He et al. 2015; heads normal with deviation 0.01).

    Returns
    -------
    Network
        In training mode.

    Raises
    ------
    UsageError
        If a value is out of range or the weights do not fit, naming the key.
    """
    _check(heads, width, in_channels)
    shape = (in_channels, size, size)
    net: Network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(network, nn.Module):
            net = WrappedNetwork(network, _measure_features(network, size), heads, shape)
        elif network in NETWORKS:
            if size < _SMALLEST[network]:
                raise UsageError(
                    f"[build] size must be at least {_SMALLEST[network]} for {network}, is {size}"
                )
            net = ClassicNetwork(network, heads, width, shape)
            _initialise(net)
        else:
            raise UsageError(
                f"[build] network must be one of {', '.join(NETWORKS)} or a module, is '{network}'"
            )
        for head in net.heads.values():
            assert isinstance(head, nn.Linear)
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
    if weights is not None:
        load_trunk(net.trunk if isinstance(net, WrappedNetwork) else net, Path(weights))
    return net


def _check(heads: Mapping[str, int], width: float, in_channels: int) -> None:
    if not heads:
        raise UsageError("[build] heads must name at least one output, is empty")
    for name, count in heads.items():
        if not name.isidentifier() or count < 1:
            raise UsageError(f"[build] heads must map a name to 1 class or more, has {name!r}: {count}")
    if not 0 < width <= 1:
        raise UsageError(f"[build] width must be above 0 and at most 1, is {width}")
    if in_channels not in (1, 3):
        raise UsageError(f"[build] in_channels must be 1 or 3, is {in_channels}")


def _scale_width(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


def _make_alexnet(width: float) -> nn.Sequential:
    c = [_scale_width(channels, width) for channels in (64, 192, 384, 256, 256)]
    return nn.Sequential(
        nn.Conv2d(3, c[0], 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(c[0], c[1], 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(c[1], c[2], 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(c[2], c[3], 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(c[3], c[4], 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def _make_vgg(blocks: tuple[tuple[int, int], ...], width: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for channels, repeats in blocks:
        after = _scale_width(channels, width)
        for _ in range(repeats):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
            before = after
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Without batch normalisation a deep stack trains only if each layer keeps the variance.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _read_features(module: nn.Module, images: Tensor) -> Tensor:
    part = getattr(module, "features", None)
    output = part(images) if isinstance(part, nn.Module) else module(images)
    if not isinstance(output, Tensor) or output.ndim not in (2, 4):
        raise UsageError("[build] module must return features (N, F) or maps (N, F, h, w)")
    return output.mean(dim=(2, 3)) if output.ndim == 4 else output


def _measure_features(module: nn.Module, size: int) -> int:
    training = module.training
    module.eval()
    with torch.no_grad():
        features = _read_features(module, torch.zeros(1, 3, size, size))
    module.train(training)
    return features.shape[1]
