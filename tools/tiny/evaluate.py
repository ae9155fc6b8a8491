#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Held-out bits per byte of models/tiny and of a 5-gram model on the same tokens.

    evaluate.py model   the model folder, through transformers; every token of a document is predicted
                        from at least 512 tokens before it (or from the start of the document)
    evaluate.py ngram   interpolated modified Kneser-Ney (Chen and Goodman 1998), trained on train.bin

Both are charged for every token of a document and for its end mark, both know where a document begins,
and both divide by the same number of UTF-8 bytes of held-out text.
"""
import argparse
import json
import math
import pathlib

import numpy as np

BOS = 0
ORDER = 5
WINDOW, STRIDE = 1024, 512


def text_bytes(data):
    with open(data / "heldout.jsonl") as f:
        return sum(len(json.loads(line)["text"].encode()) for line in f)


def report(name, nats, tokens, size):
    bits = nats / math.log(2)
    print(f"{name}: {bits / size:.4f} bits per byte, {nats / tokens:.4f} nats per token, "
          f"{tokens} predicted tokens, {size} bytes", flush=True)


# ------------------------------------------------------------------------------------------ the model
def evaluate_model(args):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_grad_enabled(False)
    stored = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16)
    model = stored.to(getattr(torch, args.dtype)).to(args.device).eval()
    ids = np.fromfile(args.data / "heldout.bin", dtype="<u2").astype(np.int64)
    begins = np.flatnonzero(ids == BOS).tolist() + [len(ids)]
    windows = []  # (begin, end, first scored position inside the window)
    for begin, end in zip(begins, begins[1:]):
        done = begin + 1  # the first token that is still to be predicted
        while done < end:
            first = max(begin, min(done - STRIDE, end - WINDOW))
            last = min(first + WINDOW, end)
            windows.append((first, last, done - first))
            done = last
    windows.sort(key=lambda w: w[1] - w[0])
    nats = tokens = 0
    for i in range(0, len(windows), args.batch):
        part = windows[i:i + args.batch]
        length = max(last - first for first, last, _ in part)
        inputs = torch.zeros((len(part), length), dtype=torch.long)
        for row, (first, last, _) in enumerate(part):
            inputs[row, :last - first] = torch.from_numpy(ids[first:last])
        inputs = inputs.to(args.device)
        # Padding stands at the right end, where no scored position can see it.
        losses = torch.nn.functional.cross_entropy(
            model(inputs).logits[:, :-1].float().flatten(0, 1), inputs[:, 1:].flatten(), reduction="none")
        losses = losses.view(len(part), -1).double().cpu()
        for row, (first, last, scored) in enumerate(part):
            nats += losses[row, scored - 1:last - first - 1].sum().item()
            tokens += last - first - scored
    report(f"model ({args.dtype} arithmetic)", nats, tokens, text_bytes(args.data))


# ----------------------------------------------------------------------------------------- the 5-gram
def ngram_keys(ids, n, vocab):
    """Keys (base `vocab` numbers, first token highest) of the n-grams ending at each position, and
    which of them lie inside one document; <|begin_of_text|> may only stand first."""
    keys = np.zeros(len(ids), dtype=np.uint64)
    valid = np.ones(len(ids), dtype=bool)
    for back in range(n - 1, -1, -1):
        keys[n - 1:] = keys[n - 1:] * np.uint64(vocab) + ids[n - 1 - back:len(ids) - back]
    valid[:n - 1] = False
    for back in range(n - 1):
        valid[back:] &= ids[:len(ids) - back] != BOS
    if n == 1:
        valid &= ids != BOS
    return keys, valid


class Order:
    """Counts of one order: sorted keys, adjusted counts, discounts, and per context the sums."""

    def __init__(self, keys, counts, vocab):
        self.keys, self.counts = keys, counts
        n1, n2, n3, n4 = (int((counts == c).sum()) for c in (1, 2, 3, 4))
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            d = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        else:
            d = [0.5, 1.0, 1.5]  # too little text for the estimate
        self.discounts = np.array([0.0, *d])
        contexts = keys // np.uint64(vocab)
        first = np.flatnonzero(np.concatenate(([True], contexts[1:] != contexts[:-1])))
        self.contexts = contexts[first]
        self.totals = np.add.reduceat(counts.astype(np.int64), first)
        self.removed = np.add.reduceat(self.discounts[np.minimum(counts, 3)], first)

    def interpolate(self, keys, lower, vocab):
        """p(w | h) from the lower order's probabilities; unseen contexts keep those."""
        contexts = keys // np.uint64(vocab)
        at = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        known = self.contexts[at] == contexts
        here = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        count = np.where(self.keys[here] == keys, self.counts[here], 0)
        total = self.totals[at]
        p = (count - self.discounts[np.minimum(count, 3)] + self.removed[at] * lower) / total
        return np.where(known, p, lower)


def train_ngram(ids, vocab):
    """[Order] for n = 1 .. ORDER. Below the highest order the count of an n-gram is the number of
    different tokens seen before it; n-grams at the start of a document keep their plain count."""
    orders = []
    upper = None
    for n in range(ORDER, 0, -1):
        keys, valid = ngram_keys(ids, n, vocab)
        if upper is not None:
            valid[n - 1:] &= ids[:len(ids) - n + 1] == BOS if n > 1 else False
        keys, counts = np.unique(keys[valid], return_counts=True)
        if upper is not None:
            seen, different = np.unique(upper % np.uint64(vocab ** n), return_counts=True)
            # An n-gram that starts with <|begin_of_text|> has no token before it: the two sets are disjoint.
            keys, counts = np.concatenate((keys, seen)), np.concatenate((counts, different))
            order = np.argsort(keys)
            keys, counts = keys[order], counts[order]
        upper = keys
        orders.append(Order(keys, counts.astype(np.int32), vocab))
        print(f"{n}-grams: {len(keys)}, discounts {orders[-1].discounts[1:].round(3)}", flush=True)
    return orders[::-1]


def probabilities(orders, ids, vocab):
    """p of every token but <|begin_of_text|> (which gets 1: it is never predicted)."""
    p = np.full(len(ids), 1.0 / (vocab - 1))
    for n, order in enumerate(orders, 1):
        keys, valid = ngram_keys(ids, n, vocab)
        p[valid] = order.interpolate(keys[valid], p[valid], vocab)
    p[ids == BOS] = 1.0
    return p


def evaluate_ngram(args):
    vocab = json.loads((args.model / "config.json").read_text())["vocab_size"]
    if vocab ** ORDER >= 2 ** 64:
        raise SystemExit(f"a vocabulary of {vocab} is too large for 64-bit keys of {ORDER} tokens")
    train = np.fromfile(args.data / "train.bin", dtype="<u2").astype(np.uint64)
    held_out = np.fromfile(args.data / "heldout.bin", dtype="<u2").astype(np.uint64)
    orders = train_ngram(train, vocab)
    # The probabilities after a context must add up to one, or the figure below means nothing.
    for at in np.random.default_rng(1).integers(ORDER, len(held_out), 5):
        context = held_out[at - ORDER + 1:at]
        rows = np.concatenate([np.append(context, np.uint64(w)) for w in range(1, vocab)])
        p = probabilities(orders, rows, vocab)[ORDER - 1::ORDER]
        if not np.any(context[1:] == BOS) and abs(p.sum() - 1) > 1e-6:
            raise SystemExit(f"probabilities after {context} add up to {p.sum()}")
    p = probabilities(orders, held_out, vocab)
    report("5-gram", -np.log(p).sum(), int((held_out != BOS).sum()), text_bytes(args.data))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["model", "ngram"])
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tiny-data"))
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("models/tiny"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="of the arithmetic; the weights are always bf16")
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    evaluate_model(args) if args.what == "model" else evaluate_ngram(args)


if __name__ == "__main__":
    main()
