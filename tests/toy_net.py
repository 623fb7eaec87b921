"""What the toy family stands on, as a real one on its library: a net that draws words, and a judge."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

WORDS = ("owl", "fox", "elk", "bee", "cod", "yak")
WIDTH, SIDE, DEPTH = 16, 8, 3
PATTERNS = torch.randn(len(WORDS), SIDE * SIDE, generator=torch.Generator().manual_seed(7))
Drawn = tuple[tuple[int, int], ...]  # (word, seed) of each picture


class Net(nn.Module):
    """Draw each word's pattern, a little otherwise for each seed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(WORDS), WIDTH)
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))
        self.out = nn.Linear(WIDTH, SIDE * SIDE)

    def forward(self, drawn: Drawn) -> Tensor:
        """Return pictures [n, SIDE * SIDE]."""
        seeded = [torch.Generator().manual_seed(seed) for _, seed in drawn]
        noise = torch.stack([torch.randn(WIDTH, generator=g) for g in seeded])
        hidden = self.embed(torch.tensor([word for word, _ in drawn])) + 0.1 * noise
        for block in self.blocks:
            hidden = hidden + torch.tanh(block(hidden))
        pictures: Tensor = self.out(hidden)
        return pictures


def distance(net: nn.Module, drawn: Drawn) -> Tensor:
    """Return the mean squared distance of pictures from their words' patterns."""
    return (net(drawn) - PATTERNS[[word for word, _ in drawn]]).square().mean()


@torch.no_grad()
def judged(net: nn.Module, drawn: Drawn) -> Tensor:
    """Return the judge's probability of each pattern [n, words] on pictures of the net."""
    return (-0.1 * torch.cdist(net(drawn), PATTERNS).square()).softmax(dim=-1)


def teach(path: Path) -> None:
    """Train a net and write its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for step in range(150):
            optimizer.zero_grad()
            distance(net, tuple((word, step) for word in range(len(WORDS)))).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    save_file(net.state_dict(), path)
