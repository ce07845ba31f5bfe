"""Train the demo model's Unigram tokenizer and write it in the layout of the published checkpoints.

python training/vocabulary.py
"""

from __future__ import annotations

import json
from pathlib import Path

from captions import CaptionSource
from catalogue import load_emoji
from fetch import CACHE
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

VOCAB_SIZE = 16_000
#: Longest text in tokens, as in the published models: there is no position table, so this is a convention.
MAX_LENGTH = 8192

#: The XLM-R order, `<mask>` last.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")

TOKENIZER_FOLDER = CACHE / "tokenizer"


def train_tokenizer() -> Tokenizer:
    """Train on all names and keywords; ids follow XLM-R (`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last)."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCAB_SIZE - 1,
        special_tokens=list(SPECIAL_TOKENS),
        unk_token="<unk>",
        shrinking_factor=0.8,
        max_piece_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(CaptionSource(load_emoji()).corpus()), trainer)
    return _finish(tokenizer)


def _finish(tokenizer: Tokenizer) -> Tokenizer:
    state = json.loads(tokenizer.to_str())
    vocab = [[piece, round(score, 4)] for piece, score in state["model"]["vocab"]]
    state["model"]["vocab"] = [*vocab, ["<mask>", 0.0]]
    state["added_tokens"] = [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": token == "<mask>",
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, token in [*enumerate(SPECIAL_TOKENS), (len(vocab), "<mask>")]
    ]
    finished = Tokenizer.from_str(json.dumps(state))
    finished.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return finished


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "mask_token": "<mask>",
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
    }
    config = {**names, "model_max_length": MAX_LENGTH, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n", "utf-8")


def main() -> None:
    """Train, save and report."""
    tokenizer = train_tokenizer()
    save_tokenizer(tokenizer, TOKENIZER_FOLDER)
    print(tokenizer.get_vocab_size(), "pieces,", (TOKENIZER_FOLDER / "tokenizer.json").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
