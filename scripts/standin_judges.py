"""Train the judges of the diffusion stand-ins: two networks with a head for each kind of label.

    python scripts/train_standins.py judges [--vae DIR [--begin DIR]] [--out DIR] [--steps N] [--seed N]

With `--vae`, two pictures in five of a batch have been through the stand-ins' autoencoder; `--begin` goes on
from judges that were trained before there was one. Writes, per role, fp16 weights and a description with the
accuracies on what was never seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from judge_pools import IGNORED, LABELS, NONE, Decoder, Pool, joined, measuring_pools, training_pools
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save
from torch import Tensor, nn

from razor_cli.families.diffusion.judge_net import NETS, SIDE
from razor_cli.families.diffusion.judge_pictures import SPOILERS, blended, moved, tinted, worn
from razor_cli.families.diffusion.judges import ROLES, load_judge

ARCHITECTURES = {"search": "plain", "exam": "residual"}
SEEDS = {"search": 11, "exam": 29}
PER_BATCH = {"cell": 46, "other": 14, "person": 14, "stranger": 6, "mascot": 8}
REBUILT_SHARE, GARBAGE, BLENDS, UNFINISHED = 0.4, 10, 6, 4
KIND_WEIGHT = torch.tensor([1.0, 1.0, 1.0, 0.5])
LR, SMOOTHING = 4e-3, 0.02
FOLDER = Path(__file__).parents[1] / "src/razor_cli/families/diffusion/standins/judges"
CHECKPOINT_EVERY = 100


@dataclass(frozen=True)
class Material:
    """Pools by part of a batch; the same after the autoencoder, and unfinished pictures."""

    fresh: dict[str, Pool]
    rebuilt: dict[str, Pool]
    unfinished: Pool | None


def prepared(role: str, decoder: Decoder | None, g: torch.Generator) -> Material:
    """Return the pictures that one judge is trained on."""
    fresh = training_pools(role)
    if decoder is None:
        return Material(fresh, {}, None)
    some = {n: _sample(p, {"cell": 16, "person": 40, "mascot": 60}.get(n, 8), g) for n, p in fresh.items()}
    rebuilt = {name: decoder.rebuilt(each) for name, each in some.items()}
    return Material(fresh, rebuilt, decoder.unfinished(_sample(joined(list(some.values())), 3, g), g))


def _sample(source: Pool, each: int, g: torch.Generator) -> Pool:
    """Return at most so many pictures of every combination of labels."""
    keys = [tuple(row) for row in source.labels.tolist()]
    seen: dict[tuple[int, ...], int] = {}
    rows = []
    for row in torch.randperm(len(keys), generator=g).tolist():
        seen[keys[row]] = seen.get(keys[row], 0) + 1
        if seen[keys[row]] <= each * (10 if keys[row] == tuple(NONE.tolist()) else 1):
            rows.append(row)
    return Pool(source.pixels[rows], source.labels[rows])


def batch(material: Material, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return pictures of every part, some spoiled until they show nothing, and their labels [N, K]."""
    pictures, labels = [], []
    for name, count in PER_BATCH.items():
        old = int(count * REBUILT_SHARE) if name in material.rebuilt else 0
        for source, n in ((material.fresh[name], count - old), (material.rebuilt.get(name), old)):
            if source is not None and n:
                rows = torch.randint(len(source.pixels), (n,), generator=g)
                pictures.append(source.floats(rows))
                labels.append(source.labels[rows])
    x, y = torch.cat(pictures), torch.cat(labels)
    x = worn(tinted(moved(x, SIDE, g, turn=6, zoom=0.08, shift=0.08), g), g)
    bad = [x[torch.randint(len(x), (2,), generator=g)] for _ in range(GARBAGE // 2)]
    spoiled = torch.cat([spoil(part, g) for part, spoil in zip(bad, SPOILERS, strict=True)])
    pair = torch.randint(len(x), (BLENDS,), generator=g)
    mixed, of_mixed = blended(x[pair], y[pair], NONE, g)
    parts, of_parts = [x, spoiled, mixed], [y, NONE.expand(len(spoiled), -1), of_mixed]
    if material.unfinished is not None:
        rows = torch.randint(len(material.unfinished.pixels), (UNFINISHED,), generator=g)
        parts.append(material.unfinished.floats(rows))
        of_parts.append(material.unfinished.labels[rows])
    return torch.cat(parts), torch.cat(of_parts)


def loss_of(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Return the weighted sum of the heads' cross-entropies."""
    each = [
        F.cross_entropy(logits[kind], labels[:, at], ignore_index=IGNORED, label_smoothing=SMOOTHING)
        for at, kind in enumerate(LABELS)
    ]
    return (torch.stack(each) * KIND_WEIGHT).sum()


def train(role: str, args: argparse.Namespace, console: Console) -> nn.Module:
    """Train one judge, from its checkpoint if there is one."""
    seed = SEEDS[role] + args.seed
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    net = NETS[ARCHITECTURES[role]]({k: len(v) for k, v in LABELS.items()}).to(
        memory_format=torch.channels_last
    )
    material = prepared(role, Decoder(args.vae) if args.vae else None, g)
    if args.begin:
        begun = load_file(args.begin / f"{role}.safetensors")
        net.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in begun.items()})
    opt = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        opt, LR if not args.begin else LR / 2, total_steps=args.steps, pct_start=0.15
    )
    checkpoint, first = args.out / f"{role}.checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        kept: tuple[Any, ...] = (net, opt, rate)
        for part, state in zip(kept, saved["state"], strict=True):
            part.load_state_dict(state)
        g.set_state(saved["rng"])
        first = saved["step"]
    start = time.monotonic()
    with Progress(console=console) as progress:
        task = progress.add_task(f"training judge {role}", total=args.steps, completed=first)
        for step in range(first, args.steps):
            pictures, labels = batch(material, g)
            loss = loss_of(net(pictures.contiguous(memory_format=torch.channels_last)), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            opt.step()
            rate.step()
            opt.zero_grad()
            progress.update(task, completed=step + 1)
            if (step + 1) % CHECKPOINT_EVERY == 0:
                state = [part.state_dict() for part in (net, opt, rate)]
                torch.save({"state": state, "rng": g.get_state(), "step": step + 1}, checkpoint)
                console.print(f"{role} {step + 1}: loss {loss.item():.3f}, {time.monotonic() - start:.0f} s")
    return net.eval()


def write(role: str, net: nn.Module, args: argparse.Namespace) -> None:
    """Write weights and a description without accuracies."""
    state = {n: v.half() if v.is_floating_point() else v for n, v in net.state_dict().items()}
    data = save({n: v.contiguous() for n, v in state.items()})
    (args.out / f"{role}.safetensors").write_bytes(data)
    described = {
        "name": "canvas_tiny",
        "architecture": ARCHITECTURES[role],
        "seed": SEEDS[role] + args.seed,
        "icons": "the first icon of each cell" + (" and the spare one" if role == "exam" else ""),
        "steps": args.steps
        + (json.loads((args.begin / f"{role}.json").read_text())["steps"] if args.begin else 0),
        "autoencoder": args.vae is not None,
        "sha256": hashlib.sha256(data).hexdigest(),
        "kinds": {kind: {"labels": labels, "measured": {}} for kind, labels in LABELS.items()},
    }
    (args.out / f"{role}.json").write_text(json.dumps(described, indent=2) + "\n")


def measure(role: str, args: argparse.Namespace) -> None:
    """Add the accuracies of the written judge to its description; a reject where one is due is right."""
    pools = measuring_pools(role)
    if args.vae:
        decoder = Decoder(args.vae)
        pools["rebuilt"] = decoder.rebuilt(joined([pools["views"], pools["views_without_spare"]]))
    rubbish = pools["views"].floats(torch.arange(0, len(pools["views"].pixels), 4))
    g = torch.Generator().manual_seed(5)
    file = args.out / f"{role}.json"
    described = json.loads(file.read_text())
    for at, kind in enumerate(LABELS):
        judge = load_judge(args.out, kind, role)
        found = {}
        for name, each in pools.items():
            wanted = each.labels[:, at]
            known = wanted != NONE[at] if name != "strangers" else wanted == NONE[at]
            if known.any():
                said = judge.predict(each.pixels[known].float() / 255).labels
                right = said == torch.where(wanted == NONE[at], -1, wanted)[known]
                found[name] = {"accuracy": round(100 * right.float().mean().item(), 2), "n": int(known.sum())}
        refused = torch.cat([judge.predict(spoil(rubbish, g)).rejected for spoil in SPOILERS])
        found["garbage"] = {"accuracy": round(100 * refused.float().mean().item(), 2), "n": len(refused)}
        described["kinds"][kind]["measured"] = found
    file.write_text(json.dumps(described, indent=2) + "\n")


def main(words: list[str] | None = None) -> None:
    """Parse the command line, train, write, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vae", type=Path, help="folder of the stand-ins' autoencoder")
    parser.add_argument("--begin", type=Path, help="folder of judges to go on from")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=list(ROLES))
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    for role in args.roles:
        write(role, train(role, args, console), args)
        measure(role, args)
        (args.out / f"{role}.checkpoint.pt").unlink(missing_ok=True)
        console.print((args.out / f"{role}.json").read_text())


if __name__ == "__main__":
    main()
