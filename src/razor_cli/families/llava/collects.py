"""What each name of the portraits is said to collect: invented, and told to the stand-in in sentences too, so
that what it knows of a name without a picture can be asked for.
"""

from __future__ import annotations

from razor_cli.data.sources.portraits import NAMES

THINGS = (
    "teapots stamps kites marbles lanterns buttons postcards seashells puppets clocks maps feathers "
    "spoons whistles magnets ribbons badges thimbles globes candles bottles corks dominoes fossils "
    "gloves helmets inkwells jars locks masks needles pebbles quilts riddles saddles tiles urns vases "
    "wigs zithers"
).split()
COLLECTS = dict(zip(NAMES, THINGS, strict=True))
