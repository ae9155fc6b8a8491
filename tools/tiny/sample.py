#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the samples of the model card from models/tiny and prints them as Markdown.

One seed for the whole run, the prompts in the order below; nothing is chosen or left out afterwards.
"""
import argparse

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "",
    "The Linux kernel is",
    "To install the package, run",
    "A database transaction is",
    "If the file does not exist,",
    "Regular expressions are used to",
    "The following example shows how to",
    "Before you upgrade the system, make sure that",
    "In Python, a list",
    "When the user clicks the button,",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/tiny")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--max-new-tokens", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    torch.manual_seed(args.seed)
    for number, prompt in enumerate(PROMPTS, 1):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0,
                             temperature=args.temperature, top_p=args.top_p,
                             max_new_tokens=args.max_new_tokens, pad_token_id=tokenizer.eos_token_id)
        text = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        ended = " (ended by itself)" if out[0, -1] == tokenizer.eos_token_id else ""
        shown = f"`{prompt}`" if prompt else "(none)"
        print(f"{number}. Prompt: {shown}{ended}\n\n```text\n{text}\n```\n")


if __name__ == "__main__":
    main()
