#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the byte-level BPE of models/tiny on the training text and encodes both splits.

Writes tokenizer.json and tokenizer_config.json into the model folder, and next to the text train.bin
and heldout.bin: little-endian uint16 token ids, every document as <|begin_of_text|> ids <|end_of_text|>,
the training documents in a fixed random order.
"""
import argparse
import json
import pathlib
import random

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCAB_SIZE = 6144
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
# The expression of Llama 3: contractions, words with one leading character, up to three digits,
# punctuation runs, line ends, spaces.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def read_texts(path):
    with open(path) as f:
        return [json.loads(line)["text"] for line in f]


def train(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[BOS, EOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, tokenizer.token_to_id(BOS))])
    return tokenizer


def encode(tokenizer, texts):
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    pieces = []
    for start in range(0, len(texts), 512):
        for encoding in tokenizer.encode_batch_fast(texts[start:start + 512], add_special_tokens=False):
            pieces.append(np.array([bos, *encoding.ids, eos], dtype="<u2"))
    return np.concatenate(pieces)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tiny-data"))
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("models/tiny"))
    args = parser.parse_args()
    args.model.mkdir(parents=True, exist_ok=True)

    texts = read_texts(args.data / "train.jsonl")
    random.Random(1).shuffle(texts)
    tokenizer = train(texts)
    tokenizer.save(str(args.model / "tokenizer.json"))
    (args.model / "tokenizer_config.json").write_text(json.dumps({
        "add_bos_token": True, "bos_token": BOS, "clean_up_tokenization_spaces": False, "eos_token": EOS,
        "model_max_length": 1024, "tokenizer_class": "PreTrainedTokenizerFast",
    }, indent=2) + "\n")

    for name, split in (("train", texts), ("heldout", read_texts(args.data / "heldout.jsonl"))):
        ids = encode(tokenizer, split)
        ids.tofile(args.data / f"{name}.bin")
        size = sum(len(t.encode()) for t in split)
        print(f"{name}: {len(split)} documents, {size} bytes, {len(ids)} tokens, "
              f"{size / len(ids):.3f} bytes a token")


if __name__ == "__main__":
    main()
