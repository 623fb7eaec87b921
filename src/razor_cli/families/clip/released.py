"""Released checkpoints of open_clip: whether one is on this machine, and fetching it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from razor_cli.printing import note
from razor_cli.streams import quiet


def is_cached(architecture: str, tag: str) -> bool:
    """Tell whether the hub's cache, or open_clip's own, has the checkpoint of a tag."""
    import open_clip

    known = open_clip.get_pretrained_cfg(architecture, tag) or {}
    return bool(known) and _in_a_cache(known)


def fetched(architecture: str, tag: str) -> Path:
    """Return the file of a tag's checkpoint, from a cache or from the hub; raises what the library raises."""
    import open_clip

    if not is_cached(architecture, tag):
        note(f"asking the hub for {tag} of {architecture}; where it cannot be reached, a minute passes")
    with quiet("huggingface_hub"):
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, tag)))


def _in_a_cache(known: dict[str, Any]) -> bool:
    from huggingface_hub import try_to_load_from_cache

    name = Path(str(known.get("url", ""))).name
    if name and (Path("~/.cache/clip").expanduser() / name).is_file():
        return True
    repo, _, file = str(known.get("hf_hub", "")).rpartition("/")
    files = [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"]
    files += [] if file else ["open_clip_pytorch_model.bin"]
    return bool(repo) and any(isinstance(try_to_load_from_cache(repo, f), str) for f in files)
