"""Models and data sets, made, published and loaded by transformers and datasets.

Standard input is a list of steps, `[[function, arguments], ...]`, the last line of standard output
the list of what they returned; one JSON each. XET_FFI_SITE is where xet_ffi is installed.
"""

from __future__ import annotations

import json
import os
import site
import sys
from pathlib import Path
from typing import Any

# Behind this Python's own packages; its .pth files count, as that of xet_ffi.
site.addsitedir(os.environ["XET_FFI_SITE"])

import hf_xet
import numpy as np

#: Words of the tokenizer's vocabulary, and rows of the data set.
WORDS, ROWS = 2000, 20_000


def settings() -> Any:
    """Of a small model."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=WORDS,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
    )


def save_tokenizer(folder: str) -> None:
    """One that knows as many words as the model."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"[UNK]": 0, **{f"w{number}": number for number in range(1, WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def tokens(where: str) -> list[int]:
    """What the tokenizer there makes of some words."""
    from transformers import AutoTokenizer

    return list(AutoTokenizer.from_pretrained(where)("w3 w1999 w17 other w4").input_ids)


def save_model(folder: str) -> dict[str, Any]:
    """One that flax runs."""
    from transformers import FlaxBertModel

    save_tokenizer(folder)
    FlaxBertModel(settings(), seed=1).save_pretrained(folder, safe_serialization=True)
    return run_model(folder)


def run_model(where: str) -> dict[str, Any]:
    """What a model says to some words."""
    from transformers import FlaxAutoModel

    model = FlaxAutoModel.from_pretrained(where)
    ids = tokens(where)
    said = np.asarray(model(np.array([ids])).last_hidden_state)
    return {"module": hf_xet.__name__, "tokens": ids, "said": said.tobytes().hex()}


def save_weights(folder: str) -> dict[str, Any]:
    """The files of a model, for a Python that has nothing to run it with."""
    from safetensors.numpy import save_file

    save_tokenizer(folder)
    settings().save_pretrained(folder)
    size = (WORDS, settings().hidden_size)
    random = np.random.default_rng(1).standard_normal(size).astype(np.float32)
    save_file({"embeddings": random}, Path(folder) / "model.safetensors", {"format": "pt"})
    return load_weights(folder)


def load_weights(where: str) -> dict[str, Any]:
    """All that transformers can load of a model without running it."""
    from safetensors.numpy import load_file
    from transformers import AutoConfig
    from transformers.utils import cached_file

    weights = load_file(cached_file(where, "model.safetensors"))["embeddings"]
    return {
        "module": hf_xet.__name__,
        "tokens": tokens(where),
        "layers": AutoConfig.from_pretrained(where).num_hidden_layers,
        "weights": weights.sum(axis=1).tobytes().hex(),
    }


def push_dataset(repo_id: str) -> dict[str, Any]:
    """Publishes a data set, whose files are parquet."""
    from datasets import Dataset

    random = np.random.default_rng(2).integers(0, 1 << 62, ROWS).tolist()
    data = Dataset.from_dict({"number": random, "text": [f"row {number}" for number in random]})
    data.push_to_hub(repo_id)
    return rows(data)


def load_dataset(repo_id: str, *, streaming: bool = False) -> dict[str, Any]:
    """What there is in a published one. `streaming`: without having its files here."""
    import datasets

    return rows(datasets.load_dataset(repo_id, split="train", streaming=streaming))


def rows(data: Any) -> dict[str, Any]:
    """All of a data set."""
    numbers, texts = zip(*((row["number"], row["text"]) for row in data), strict=True)
    said = f"{sum(numbers)} {sum(map(len, texts))} {texts[-1]}"
    return {"module": hf_xet.__name__, "rows": len(numbers), "said": said}


def main() -> None:
    """Reads the steps, and does one after the other."""
    steps = json.load(sys.stdin)
    answers = [globals()[function](**arguments) for function, arguments in steps]
    sys.stdout.write(f"\n{json.dumps(answers)}")


main()
