#!/usr/bin/env python3
"""Trains the demo's teacher (needs Python's torch): demo_train.py DIGITS_FOLDER OUT.pt

A small residual network, a few hundred kilobytes as TorchScript, in under two minutes on two cores. Input as
bitfall's preset `cifar`: [N, 3, 32, 32], normalised with mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).
"""
import pathlib
import sys

import numpy
import torch
from PIL import Image
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2, 0, bias=False)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.block1 = Block(16, 48)
        self.block2 = Block(48, 96)
        self.fc = nn.Linear(96, 10)

    def forward(self, x):
        x = self.block2(self.block1(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def load(folder):
    files = sorted(pathlib.Path(folder).glob("*/*.jpg"))
    pixels = numpy.stack([numpy.asarray(Image.open(file).convert("RGB")) for file in files])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean[:, None, None]) / std[:, None, None], torch.tensor([int(file.parent.name) for file in files])


def main():
    torch.manual_seed(0)
    images, labels = load(pathlib.Path(sys.argv[1]) / "train")
    model = Teacher()
    epochs, batch = 24, 64
    steps = epochs * (len(images) // batch)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: len(images) // batch * batch].split(batch):
            shift = torch.randint(-2, 3, (2,)).tolist()
            loss = nn.functional.cross_entropy(model(images[chosen].roll(shift, (2, 3))), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        images, labels = load(pathlib.Path(sys.argv[1]) / "test")
        print("test accuracy", (model(images).argmax(1) == labels).float().mean().item())
    torch.jit.script(model).save(sys.argv[2])


if __name__ == "__main__":
    main()
