"""Zero-shot classification of the gallery's images into Unicode's categories, with the demo model.

    python benchmarks/classification.py

The demo model was trained on names of emoji, not on categories; prompts that name what is in a category help it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reporting import heading, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.demo import gallery

PHOTO = "a photo of a {}."
ENSEMBLE = (PHOTO, "{}", "a drawing of a {}.", "an emoji of a {}.", "a picture of a {}.")

MEMBERS: Mapping[str, Sequence[str]] = {
    "Smileys & Emotion": ("smiling face", "sad face", "angry face", "red heart", "tired face"),
    "People & Body": ("hand", "person", "man running", "woman", "finger", "ear"),
    "Animals & Nature": ("dog", "cat", "bird", "fish", "insect", "flower", "tree"),
    "Food & Drink": ("fruit", "vegetable", "bread", "soup", "cake", "drink", "bottle"),
    "Travel & Places": ("car", "train", "ship", "house", "clock", "moon", "cloud", "map"),
    "Activities": ("ball", "medal", "game", "party", "theatre mask", "fishing"),
    "Objects": ("phone", "tool", "book", "shirt", "shoe", "money", "lamp", "musical instrument"),
    "Symbols": ("arrow", "sign", "button", "number", "zodiac", "geometric shape"),
}
"""What is in each category, in words of one's own: prompts instead of the category's name."""

NAMES: Mapping[str, Mapping[str, str]] = {
    "de": {"Animals & Nature": "Tiere und Natur", "Food & Drink": "Essen und Trinken", "Objects": "Gegenstände"},
    "fr": {"Animals & Nature": "animaux et nature", "Food & Drink": "nourriture et boissons", "Objects": "objets"},
    "ja": {"Animals & Nature": "動物と自然", "Food & Drink": "食べ物と飲み物", "Objects": "物"},
}
"""Three categories in other languages."""

MEMBERS_IN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "en": {name: MEMBERS[name] for name in ("Animals & Nature", "Food & Drink", "Objects")},
    "de": {
        "Animals & Nature": ("Hund", "Katze", "Vogel", "Fisch", "Insekt", "Blume", "Baum"),
        "Food & Drink": ("Obst", "Gemüse", "Brot", "Suppe", "Kuchen", "Getränk", "Flasche"),
        "Objects": ("Telefon", "Werkzeug", "Buch", "Hemd", "Schuh", "Geld", "Lampe", "Musikinstrument"),
    },
    "fr": {
        "Animals & Nature": ("chien", "chat", "oiseau", "poisson", "insecte", "fleur", "arbre"),
        "Food & Drink": ("fruit", "légume", "pain", "soupe", "gâteau", "boisson", "bouteille"),
        "Objects": ("téléphone", "outil", "livre", "chemise", "chaussure", "argent", "lampe", "instrument de musique"),
    },
    "ja": {
        "Animals & Nature": ("犬", "猫", "鳥", "魚", "虫", "花", "木"),
        "Food & Drink": ("果物", "野菜", "パン", "スープ", "ケーキ", "飲み物", "ボトル"),
        "Objects": ("電話", "道具", "本", "シャツ", "靴", "お金", "ランプ", "楽器"),
    },
}
"""The same three by what is in them, in four languages."""


def report() -> str:
    """Measure everything and return the report."""
    with JinaClipEncoder("demo", backend="local", device="cpu", dtype="float32") as encoder:
        images = [image for image in gallery() if image.category in MEMBERS]
        vectors = encoder.encode_image([image.data() for image in images])
        truth = [image.category for image in images]
        ways = {
            "the category's name": {name: (name,) for name in MEMBERS},
            "a photo of a …": {name: (PHOTO.format(name),) for name in MEMBERS},
            f"mean of {len(ENSEMBLE)} templates": {
                name: tuple(template.format(name) for template in ENSEMBLE) for name in MEMBERS
            },
            "mean of what is in it": dict(MEMBERS),
        }
        eight = []
        for way, labels in ways.items():
            result = encoder.classifier(labels).classify_vectors(vectors)
            eight.append([way, *(f"{100 * result.accuracy(truth, k=k):.1f}" for k in (1, 3, 5))])
        three = [_three_categories(encoder, language, truth, vectors) for language in MEMBERS_IN]
    return "\n".join(
        [
            heading("Zero-shot classification with the demo model", "classification.py"),
            f"{len(images):,} images of the gallery in the {len(MEMBERS)} categories of Unicode. This is a small demo "
            "model, trained on names of emoji and never on categories, and not one of Jina's. Figures in per cent; "
            f"chance is {100 / len(MEMBERS):.1f}. Ties count against the model.",
            "",
            table(["a label is", ">right", ">among 3", ">among 5"], eight),
            "Three categories in other languages (chance 33.3):",
            "",
            table(["language", ">by their names", ">by what is in them"], three),
            "",
        ]
    )


def _three_categories(encoder: JinaClipEncoder, language: str, truth: Sequence[str], vectors: object) -> list[str]:
    """The language, and the share that is right by names and by members."""
    members = MEMBERS_IN[language]
    names = {name: (NAMES.get(language, {}).get(name, name),) for name in members}
    rows = [number for number, name in enumerate(truth) if name in members]
    known = [truth[number] for number in rows]
    shares = []
    for labels in (names, members):
        result = encoder.classifier(labels).classify_vectors(vectors).rows(rows)
        shares.append(f"{100 * result.accuracy(known):.1f}")
    return [language, *shares]


if __name__ == "__main__":
    run(report, doc=__doc__)
