"""Texts that hardly any folder holds an image of: with them it is found out what queries score by chance.

They are of the kinds that queries are of, words and short phrases in several languages, about all sorts of things.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..cache import DiskCache, text_keys
from ..types import Vectors
from . import locations

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

BACKGROUND_TEXTS = (
    "a theorem about prime numbers",
    "the rate of inflation",
    "a chess opening",
    "a microscope slide of bacteria",
    "an oil platform",
    "a suit of armour",
    "an accordion",
    "a submarine",
    "a beehive",
    "the surface of the moon",
    "a sumo wrestler",
    "an Egyptian mummy",
    "a bulldozer",
    "a bagpipe player",
    "an igloo",
    "a scorpion",
    "a nuclear power plant",
    "a ballet dancer",
    "a printed circuit board",
    "a steam locomotive",
    "a jellyfish",
    "a lighthouse",
    "a violin",
    "a court room",
    "an astronaut",
    "a coal mine",
    "a samurai sword",
    "a hot air balloon",
    "a wind tunnel",
    "a totem pole",
    "a fire engine",
    "a cactus",
    "ein Kettenkarussell",
    "eine Kuckucksuhr",
    "ein Formular für die Steuererklärung",
    "une machine à coudre",
    "un phare breton",
    "un lanzador de jabalina",
    "una corrida de toros",
    "un mulino a vento",
    "uma colheita de café",
    "een windmolen aan het water",
    "en isbrytare",
    "parowóz na stacji",
    "космический корабль",
    "вязальные спицы",
    "天文望遠鏡",
    "将棋の駒",
    "兵马俑",
    "手术室",
    "한복을 입은 인형",
    "مصباح زيتي",
    "एक सितार",
    "กลองยาว",
    "bir nargile",
    "ένας αρχαίος ναός",
    "a piece of sheet music",
    "a periodic table",
    "a dental X-ray",
    "a roulette wheel",
    "a pair of crutches",
    "a barcode",
    "a weather map",
    "a swarm of locusts",
)
"""Changing one changes cut-offs a little; the vectors of new ones are computed at the next search."""


def background_vectors(encoder: JinaClipEncoder) -> Vectors:
    """Vectors `(t, d)` of `BACKGROUND_TEXTS`, embedded as queries are, once per model on this machine."""
    from ..retrieval.fingerprint import VectorFingerprint

    identity = f"{VectorFingerprint.of(encoder)!r}"
    keys = text_keys(BACKGROUND_TEXTS, identity=identity, normalize=True, task=encoder.query_task)
    cache = DiskCache(locations.cache_folder() / "background")
    # A folder for caches that cannot be written, as in some containers, costs time and nothing else.
    with contextlib.closing(cache), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = cache.get_many(keys)
        if len(found) < len(keys):
            rows = encoder.encode_text(BACKGROUND_TEXTS, task=encoder.query_task)
            found = dict(zip(keys, rows, strict=True))
            cache.set_many(found)
    return np.stack([found[key] for key in keys])
