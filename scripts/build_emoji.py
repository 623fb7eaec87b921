"""Pack the licensed emoji icons into the one file that ships with the package.

    python scripts/build_emoji.py ICONS_DIR

ICONS_DIR holds one folder per icon set (noto, twemoji, ...), each with the `icons.json` of the Iconify
collection of that name. Only sets under Apache-2.0, MIT or CC-BY-4.0 are packed; see NOTICE.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

SETS = {
    "noto": "Apache-2.0",
    "noto-v1": "Apache-2.0",
    "fluent-emoji-flat": "MIT",
    "fluent-emoji-high-contrast": "MIT",
    "twemoji": "CC-BY-4.0",
    "emojione": "CC-BY-4.0",
    "emojione-monotone": "CC-BY-4.0",
}

# No concept shares its name with a CIFAR-10 class: the two domains serve as each other's control.
GROUPS = {
    "animal": "ant bat bear butterfly camel crab crocodile dolphin elephant fox koala lion octopus owl panda "
    "penguin scorpion snail snake spider squid tiger turtle unicorn whale",
    "plant": "cactus four-leaf-clover maple-leaf mushroom palm-tree rose sunflower tulip",
    "food": "avocado banana beer-mug birthday-cake bread carrot cherries cookie doughnut eggplant "
    "french-fries "
    "grapes hamburger lemon lollipop pineapple pizza popcorn strawberry watermelon wine-glass",
    "activity": "american-football artist-palette balloon basketball bowling game-die joystick "
    "soccer-ball tennis trophy",
    "travel": "anchor bicycle castle cloud fire fuel-pump helicopter hourglass-done rainbow rocket "
    "snowman star "
    "tent tornado volcano watch",
    "object": "bell bomb camera crown door drum envelope floppy-disk guitar hammer key light-bulb megaphone "
    "microscope necktie scissors shopping-cart telescope top-hat umbrella",
}
TARGET = Path(__file__).parents[1] / "src/razor_cli/data/concepts/emoji.json.gz"


def read_icon(icons: dict[str, Any], name: str) -> dict[str, Any]:
    """Return body and size of one Iconify icon, following an alias."""
    alias = icons.get("aliases", {}).get(name)
    icon = icons["icons"][alias["parent"] if alias else name]
    return {
        "body": icon["body"],
        "width": icon.get("width", icons.get("width", 16)),
        "height": icon.get("height", icons.get("height", 16)),
    }


def main() -> None:
    """Read every set and write the packed file."""
    root = Path(sys.argv[1])
    groups = {name.replace("-", " "): group for group, names in GROUPS.items() for name in names.split()}
    packed: dict[str, Any] = {"licences": SETS, "groups": groups, "icons": {}}
    for name in SETS:
        icons = json.loads((root / name / "icons.json").read_text())
        packed["icons"][name] = {c: read_icon(icons, c.replace(" ", "-")) for c in groups}
    raw = json.dumps(packed, sort_keys=True, separators=(",", ":")).encode()
    TARGET.write_bytes(gzip.compress(raw, 9, mtime=0))
    print(f"{len(groups)} concepts x {len(SETS)} sets, {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
