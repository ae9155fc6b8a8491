# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizers: small byte-level BPE tokenizers and what the `tokenizers` library does with them.

The texts come from probe_texts.py, the README beside the folders gives the layout. The files are committed;
nothing at build or test time runs this.

Each tokenizer.json is put together by hand in the shape in which the model's own file is published, old and
new, since it is the shape that a reader gets wrong; only vocabulary and merges are trained.

    python3 -m venv venv && venv/bin/pip install tokenizers
    venv/bin/python tools/references/make_tokenizers.py [--out tests/data/tokenizers] [name ...]
"""

import argparse
import functools
import json
import os
import random
import sys
import unicodedata

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import probe_texts
import tokenizers
from tokenizers import (
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(expression, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}


def byte_level(add_prefix_space=False, trim_offsets=True, use_regex=True):
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": trim_offsets,
        "use_regex": use_regex,
    }


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def token(content, **flags):
    known = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return dict(content=content, **(known | flags))


def template(first, last, ids):
    """A TemplateProcessing that puts `first` before the text and `last` (or nothing) after it."""

    def special(name, kind):
        return {"SpecialToken": {"id": name, "type_id": kind}}

    def around(which, kind):
        parts = [special(first, kind), {"Sequence": {"id": which, "type_id": kind}}]
        return parts + ([special(last, kind)] if last else [])

    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": around("A", 0) + around("B", 1),
        "special_tokens": {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (first, last) if name
        },
    }


LLAMA3_TOKENS = [
    token(f"<|{name}|>")
    for name in (
        "begin_of_text",
        "end_of_text",
        "reserved_special_token_0",
        "start_header_id",
        "end_header_id",
        "eot_id",
    )
]
GPT4_TOKENS = [
    token(f"<|{name}|>") for name in ("endoftext", "fim_prefix", "fim_middle", "fim_suffix", "endofprompt")
]
QWEN_TOKENS = [token(f"<|{name}|>") for name in ("endoftext", "im_start", "im_end")] + [
    token(name, special=False) for name in ("<tool_call>", "</tool_call>", "<think>", "</think>")
]
FLAG_TOKENS = [
    token("<bos>"),
    token("<eos>"),
    token("<mask>", lstrip=True),
    token("<rs>", rstrip=True),
    token("<both>", lstrip=True, rstrip=True, special=False),
    token("word", single_word=True, special=False, normalized=True),
    token("\u00dcn\u00ef", single_word=True, special=False, normalized=True),
    token("<sw>", single_word=True, lstrip=True),
    token("e\u0301!", special=False, normalized=True),  # is looked for composed, in composed text
    token("e\u0301?", special=False, normalized=False),  # is looked for as it stands, in the text as it came
    token("<a>", special=False),
    token("<a><b>", special=False),
    token("<a><b", special=False),
    token("ing", special=False, normalized=True),
    token("the", special=False, normalized=False),  # in the vocabulary too
    token("    ", special=False, normalized=True),
    token("\n\n\n", special=False, normalized=False),
    token("\u4e16\u754c", special=False, normalized=False),
]
FLAG_PROBES = [
    "a <mask> b",
    "a  \t\n<mask>  b",
    "<mask><mask>",
    " <mask> <mask> ",
    "a\u00a0<mask>",
    "a\u200b<mask>",
    "a<mask>b",
    "a <rs> b",
    "a <rs>  \n b",
    "<rs><rs> <rs>",
    "a <both> b",
    "a \n <both> \n b",
    "<both> <both>",
    "<mask> <rs> <both> <mask>",
    "<rs> <mask>",
    "<both> <mask>",
    "word",
    "a word here",
    "words sword wordword",
    "word.",
    "_word word_",
    "word's",
    "wordé éword",
    "word\u0301",
    "1word word2",
    "中word中",
    "word word",
    "-word-",
    "Word WORD",
    "\u00dcn\u00ef",
    "U\u0308ni\u0308",
    "\u00dcn\u00efx",
    "x \u00dcn\u00ef y",
    "<sw>",
    "a<sw>",
    "a <sw> b",
    "<sw>b",
    "  <sw>.",
    "a  <sw>b",
    "\u00e9!",
    "e\u0301!",
    "\u00e9?",
    "e\u0301?",
    "xe\u0301?y",
    "xe\u0301!y",
    "\u00e9!?",
    "<a>",
    "<a><b>",
    "<a><b",
    "<a><",
    "<a><a><b>",
    "<a><b<a>",
    "<<a><b>>",
    "ing",
    "singing ring",
    "ingi ng",
    "the",
    "other then the",
    "thethe",
    "a    b",
    "a     b",
    "        ",
    "         ",
    "   ",
    "\n\n\n",
    "\n\n\n\n",
    "a\n\n\n\n\n\nb",
    "\u4e16\u754c",
    "你好世界你好",
    "<bos>",
    "<eos><bos>",
    "<bos> x <eos>",
    "<bos",
    "the<mask>ing",
    "the <mask> ing",
    "    <mask>    ",
    "    <both>    ",
    "the\u0301",
    "ing\u0301",
    "<mask>\u0301",
    "\u0301<mask>",
]

# name -> pre-tokenizer in full, added tokens, and how the file is written. `old`: as in 2020, with merges as
# "a b", no model type, no use_regex, and the special token in the vocabulary. `unreachable`: so many merges are
# left out whose results stay in the vocabulary, which only ignore_merges finds.
TOKENIZERS = {
    "gpt2": {
        "old": True,
        "merges": "string",
        "pre": byte_level(),
        "train": GPT2,
        "tokens": [token("<|endoftext|>", normalized=True)],
    },
    "gpt2-prefix": {
        "merges": "string",
        "pre": byte_level(add_prefix_space=True),
        "train": GPT2,
        "tokens": [token("<|endoftext|>"), token("<pad>"), token("<mask>", lstrip=True)],
        "probes": [
            "a<pad>b",
            "a <pad> b",
            "<pad> a",
            "<pad>\na",
            "<pad><pad>a",
            "a<mask> b",
            "a \n<mask>b",
            "\u00a0a<pad>\u00a0b",
        ],
    },
    "gpt4": {
        "merges": "array",
        "pre": sequence(split(LLAMA3, "Removed", True), byte_level(use_regex=False)),
        "train": LLAMA3,
        "tokens": GPT4_TOKENS,
    },
    "gpt4o": {
        "merges": "array",
        "ignore_merges": True,
        "unreachable": 25,
        "pre": sequence(split(O200K), byte_level(use_regex=False)),
        "train": O200K,
        "tokens": GPT4_TOKENS,
    },
    "llama3": {
        "merges": "array",
        "ignore_merges": True,
        "unreachable": 40,
        "pre": sequence(split(LLAMA3), byte_level(use_regex=False)),
        "train": LLAMA3,
        "tokens": LLAMA3_TOKENS,
        "template": ("<|begin_of_text|>", None),
    },
    "qwen": {
        "merges": "string",
        "normalizer": {"type": "NFC"},
        "unreachable": 20,
        "pre": sequence(split(QWEN2), byte_level(trim_offsets=False, use_regex=False)),
        "train": QWEN2,
        "tokens": QWEN_TOKENS,
    },
    "added-flags": {
        "merges": "array",
        "normalizer": {"type": "NFC"},
        "pre": sequence(split(QWEN2), byte_level(use_regex=False)),
        "train": QWEN2,
        "tokens": FLAG_TOKENS,
        "template": ("<bos>", "<eos>"),
        "probes": FLAG_PROBES,
    },
    "digits": {
        "merges": "string",
        "pre": sequence({"type": "Digits", "individual_digits": True}, byte_level()),
        "train": GPT2,
        "tokens": [token("<|endoftext|>"), token("<|im_start|>"), token("<|im_end|>")],
    },
    "split-sequence": {
        "merges": "array",
        "pre": sequence(
            split(r"\p{N}{1,3}"),
            split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
            split(DEEPSEEK),
            byte_level(use_regex=False),
        ),
        "train": DEEPSEEK,
        "tokens": [
            token("<|begin\u2581of\u2581sentence|>"),
            token("<think>", special=False, normalized=True),
        ],
        "probes": ["<|begin\u2581of\u2581sentence|>a<think>b"],
    },
}


def corpus():
    texts = []
    for name in ("GPL-3", "Apache-2.0", "Artistic"):
        with open(f"/usr/share/common-licenses/{name}", encoding="utf-8") as file:
            texts.append(file.read())
    return texts + [" ".join(probe_texts.MULTILINGUAL)] * 6 + [probe_texts.CODE] * 10


def trained(spec, vocabulary):
    """Vocabulary and merges, trained behind the regular expression of the tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    if spec.get("normalizer"):
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(spec["train"]), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]


def build(name, spec):
    """The text of tokenizer.json."""
    vocab, merges = trained(spec, 900)
    if count := spec.get("unreachable"):
        rng = random.Random(f"unreachable {name}")
        dropped = set(rng.sample(range(100, len(merges)), count))
        merges = [merge for index, merge in enumerate(merges) if index not in dropped]
    added, ids = [], {}
    for flags in spec["tokens"]:
        content = flags["content"]
        ids[content] = vocab.get(content, len(set(vocab.values()) | set(ids.values())))
        if spec.get("old"):
            vocab[content] = ids[content]
        added.append(dict(id=ids[content], **flags))
    if spec["merges"] == "string":
        listed = [f"{left} {right}" for left, right in merges]
    else:
        listed = [[left, right] for left, right in merges]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
    }
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": spec.get("ignore_merges", False)}
    post = byte_level(add_prefix_space=True, trim_offsets=False)
    decoder = byte_level(add_prefix_space=True)
    pre = spec["pre"]
    if spec.get("old"):
        model = {
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
        }
        pre, post, decoder = ({k: v for k, v in d.items() if k != "use_regex"} for d in (pre, post, decoder))
    if spec.get("template"):
        post = {"type": "Sequence", "processors": [post, template(*spec["template"], ids)]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": spec.get("normalizer"),
        "pre_tokenizer": pre,
        "post_processor": post,
        "decoder": decoder,
        "model": model | {"vocab": dict(sorted(vocab.items(), key=lambda item: item[1])), "merges": listed},
    }


@functools.cache
def same_category(char):
    """Whether the library's expressions put this character where the Unicode version of this Python does."""
    category = unicodedata.category(char)
    if category == "Cn":
        return not any(matches(c, char) for c in "LNMPSZ")
    return matches(category, char)


@functools.cache
def class_of(category):
    return pre_tokenizers.Split(Regex("\\p{" + category + "}"), "removed")


def matches(category, char):
    return class_of(category).pre_tokenize_str(char) == []


def settled(text):
    """False where the answer depends on the version of Unicode."""
    nfc = normalizers.NFC().normalize_str(text)
    return nfc == unicodedata.normalize("NFC", text) and all(same_category(char) for char in text)


def byte_alphabet():
    """byte -> the character that stands for it in a byte-level vocabulary."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + index) for index, b in enumerate(others)}


BROKEN_UTF8 = [
    "80",
    "bf",
    "ff",
    "fe",
    "c2",
    "e2",
    "e282",
    "f0",
    "f09f",
    "f09f98",
    "c080",
    "c1bf",
    "e08080",
    "e09fbf",
    "eda080",
    "edbfbf",
    "eda0bdedb880",
    "f0808080",
    "f08fbfbf",
    "f4908080",
    "f5808080",
    "f888808080",
    "fc8480808080",
    "61c2",
    "c261",
    "e28261",
    "e261ac",
    "f09f9861",
    "f09f61",
    "f0619f",
    "f09f98f09f9880",
    "e282e282ac",
    "c2c2a9",
    "8080808080",
    "efbfbd",
    "efbbbf61",
    "00",
    "f48fbfbf",
    "ee8080",
    "f09f988080",
    "e282ac80",
    "edaf80edb080",
]


def decode_probes(tokenizer, seed):
    rng = random.Random(seed)
    vocab = tokenizer.get_vocab()
    alphabet = byte_alphabet()
    bytes_only = [vocab[alphabet[byte]] for byte in range(256)]
    added = sorted(tokenizer.get_added_tokens_decoder())
    every = sorted(vocab.values())
    high = bytes_only[128:]
    for text in BROKEN_UTF8:
        yield [bytes_only[byte] for byte in bytes.fromhex(text)]
    for text in ("😀", "한국어", "é\u0301ë", "中文", probe_texts.FAMILY):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        for cut in range(1, min(len(ids), 6)):
            yield ids[cut:]
            yield ids[:-cut]
            yield ids[:cut] + [added[0]] + ids[cut:]
    yield []
    yield added
    for _ in range(120):
        pools = rng.sample([every, every, bytes_only, high, high, added], 2)
        yield [rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 20))]


def make(name, spec, out):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(build(name, spec), file, ensure_ascii=False, indent=1)
        file.write("\n")
    tokenizer = Tokenizer.from_file(path)

    fragments = [flags["content"] for flags in spec["tokens"]]
    fragments += [content[:-1] for content in fragments if len(content) > 1]
    settled_texts, newer = [], list(probe_texts.NEWER)
    texts = probe_texts.FIXED + spec.get("probes", [])
    for content in [flags["content"] for flags in spec["tokens"]]:
        texts = texts + [
            content * 2,
            f"x{content}y",
            f" {content} ",
            content[:-1],
            content[1:] + content,
            content.upper(),
        ]
    for text in dict.fromkeys(texts):
        if not settled(text):
            sys.exit(f"{name}: the answer to {text!a} depends on the version of Unicode; move it to NEWER")
        settled_texts.append(text)
    for text in probe_texts.random_texts(400, f"texts {name}", fragments):
        if settled(text) and len(settled_texts) < len(dict.fromkeys(texts)) + 200:
            settled_texts.append(text)

    def encoded(text):
        ids = tokenizer.encode(text).ids
        return {
            "text": text,
            "ids": ids,
            "ids_no_special": tokenizer.encode(text, add_special_tokens=False).ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=False),
            "decoded_skip": tokenizer.decode(ids, skip_special_tokens=True),
        }

    def decoded(ids):
        return {
            "ids": ids,
            "text": tokenizer.decode(ids, skip_special_tokens=False),
            "text_skip": tokenizer.decode(ids, skip_special_tokens=True),
        }

    head = {"format": 1, "tokenizers": tokenizers.__version__, "vocab_size": tokenizer.get_vocab_size()}
    lists = {
        "encode": [encoded(text) for text in settled_texts],
        "decode": [decoded(ids) for ids in decode_probes(tokenizer, f"ids {name}")],
        "newer_unicode": [encoded(text) for text in newer],
    }
    path = os.path.join(folder, "probes.json")
    with open(path, "w", encoding="ascii") as file:  # one probe a line, so that a difference can be read
        file.write("{" + json.dumps(head)[1:-1])
        for key, probes in lists.items():
            rows = ",\n".join(json.dumps(probe, separators=(",", ":")) for probe in probes)
            file.write(f',\n"{key}": [\n{rows}\n]')
        file.write("}\n")
    check(name, spec, tokenizer, lists)
    sizes = ", ".join(f"{len(value)} {key}" for key, value in lists.items())
    print(f"{name}: {head['vocab_size']} tokens, {sizes}, {os.path.getsize(path) / 1000:.0f} KB", flush=True)


def check(name, spec, tokenizer, lists):
    """That the probes can tell right from wrong."""
    used = {i for probe in lists["encode"] for i in probe["ids"]}
    missing = [
        flags["content"] for flags in spec["tokens"] if tokenizer.token_to_id(flags["content"]) not in used
    ]
    if missing:
        sys.exit(f"{name}: no probe yields the added tokens {missing}")
    if not any("\ufffd" in probe["text"] for probe in lists["decode"]):
        sys.exit(f"{name}: no sequence of ids decodes to a replacement character")
    if spec.get("ignore_merges"):
        other = json.loads(tokenizer.to_str())
        other["model"]["ignore_merges"] = False
        plain = Tokenizer.from_str(json.dumps(other))
        if not any(plain.encode(probe["text"]).ids != probe["ids"] for probe in lists["encode"]):
            sys.exit(f"{name}: ignore_merges makes no difference to any probe")


def main():
    parser = argparse.ArgumentParser(description="Writes tests/data/tokenizers.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--out", default=os.path.join(here, "..", "..", "tests", "data", "tokenizers"))
    parser.add_argument("names", nargs="*", help="tokenizers to write; all of them without a name")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(TOKENIZERS):
        parser.error(f"no such tokenizer: {', '.join(sorted(unknown))}; there are {', '.join(TOKENIZERS)}")
    for name in arguments.names or TOKENIZERS:
        make(name, TOKENIZERS[name], os.path.normpath(arguments.out))


if __name__ == "__main__":
    main()
