"""Pack the icons of the style x object canvas into the one file that ships with the package.

    python scripts/build_canvas.py ICONS_DIR

ICONS_DIR holds one folder per icon set (noto, twemoji, ...), each with the `icons.json` of the Iconify
collection of that name. Only sets under Apache-2.0, MIT or CC-BY-4.0 are packed; see NOTICE.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

from build_emoji import read_icon

STYLES = {  # the style's name in prompts: icon set and licence
    "Noto": ("noto", "Apache-2.0"),
    "Fluent": ("fluent-emoji-flat", "MIT"),
    "Contrast": ("fluent-emoji-high-contrast", "MIT"),
    "Twemoji": ("twemoji", "CC-BY-4.0"),
    "Emojione": ("emojione", "CC-BY-4.0"),
    "Monotone": ("emojione-monotone", "CC-BY-4.0"),
}

# Object as UnlearnCanvas writes it: the icon that trains, then icons of the same object that are held out.
# Faces train where whole figures of two sets look alike at 64 pixels (horses, dogs, cats, rabbits).
OBJECTS = {
    "Architectures": "classical-building castle house",
    "Bears": "bear koala panda",
    "Birds": "bird dove duck",
    "Cats": "cat-face cat",
    "Dogs": "dog-face dog poodle",
    "Fishes": "fish tropical-fish blowfish",
    "Flame": "fire",
    "Flowers": "tulip rose sunflower",
    "Frogs": "frog",
    "Horses": "horse-face horse carousel-horse",
    "Rabbits": "rabbit-face rabbit",
    "Sandwiches": "hamburger hot-dog",
    "Sea": "water-wave",
    "Statues": "moai statue-of-liberty",
    "Towers": "tokyo-tower",
    "Trees": "deciduous-tree evergreen-tree palm-tree",
}
FORMER_NAMES = {"bear": "bear-face", "panda": "panda-face", "frog": "frog-face"}  # in the older sets
TARGET = Path(__file__).parents[1] / "src/razor_cli/data/concepts/canvas.json.gz"


def read_named(icons: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one icon under its present or its former name."""
    known = icons["icons"].keys() | icons.get("aliases", {}).keys()
    return read_icon(icons, name if name in known else FORMER_NAMES[name])


def main() -> None:
    """Read every set and write the packed file."""
    root = Path(sys.argv[1])
    licences = {icon_set: licence for icon_set, licence in STYLES.values()}
    objects = {name: icons.split() for name, icons in OBJECTS.items()}
    packed: dict[str, Any] = {"licences": licences, "objects": objects, "icons": {}}
    for style, (icon_set, _) in STYLES.items():
        icons = json.loads((root / icon_set / "icons.json").read_text())
        packed["icons"][style] = {n: read_named(icons, n) for names in objects.values() for n in names}
    raw = json.dumps(packed, sort_keys=True, separators=(",", ":")).encode()
    TARGET.write_bytes(gzip.compress(raw, 9, mtime=0))
    print(f"{len(STYLES)} styles x {len(OBJECTS)} objects, {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
