#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a model folder of a named shape whose weights take no disk space.

The safetensors files have true headers and sparse data (all zeros), so that loading, mapping and memory
use can be tried at full size: an 8B folder is 16 GB long and occupies some tens of kilobytes. Needs only
Python's own library.
"""
import argparse
import json
import os
import struct
import sys

DTYPES = {"f32": ("F32", 4, "float32"), "f16": ("F16", 2, "float16"), "bf16": ("BF16", 2, "bfloat16")}

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
}


def llama(vocab, hidden, layers, heads, kv_heads, intermediate, positions, tie, factor=None, head_dim=None):
    head_dim = head_dim or hidden // heads
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": intermediate,
        "max_position_embeddings": positions,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0 if factor else 10000.0,
        "rope_scaling": {**LLAMA3_ROPE, "factor": factor} if factor else None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tie,
        "bos_token_id": min(128000, vocab - 2),
        "eos_token_id": min(128001, vocab - 1),
    }
    tensors = [("model.embed_tokens.weight", [vocab, hidden])]
    for i in range(layers):
        p = f"model.layers.{i}."
        tensors += [
            (p + "input_layernorm.weight", [hidden]),
            (p + "self_attn.q_proj.weight", [heads * head_dim, hidden]),
            (p + "self_attn.k_proj.weight", [kv_heads * head_dim, hidden]),
            (p + "self_attn.v_proj.weight", [kv_heads * head_dim, hidden]),
            (p + "self_attn.o_proj.weight", [hidden, heads * head_dim]),
            (p + "post_attention_layernorm.weight", [hidden]),
            (p + "mlp.gate_proj.weight", [intermediate, hidden]),
            (p + "mlp.up_proj.weight", [intermediate, hidden]),
            (p + "mlp.down_proj.weight", [hidden, intermediate]),
        ]
    tensors.append(("model.norm.weight", [hidden]))
    if not tie:
        tensors.append(("lm_head.weight", [vocab, hidden]))
    return config, tensors


def gpt2(vocab, hidden, layers, heads, positions):
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocab,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": positions,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-05,
        "bos_token_id": vocab - 1,
        "eos_token_id": vocab - 1,
    }
    tensors = [("transformer.wte.weight", [vocab, hidden]), ("transformer.wpe.weight", [positions, hidden])]
    for i in range(layers):
        p = f"transformer.h.{i}."
        tensors += [
            (p + "ln_1.weight", [hidden]),
            (p + "ln_1.bias", [hidden]),
            (p + "attn.c_attn.weight", [hidden, 3 * hidden]),
            (p + "attn.c_attn.bias", [3 * hidden]),
            (p + "attn.c_proj.weight", [hidden, hidden]),
            (p + "attn.c_proj.bias", [hidden]),
            (p + "ln_2.weight", [hidden]),
            (p + "ln_2.bias", [hidden]),
            (p + "mlp.c_fc.weight", [hidden, 4 * hidden]),
            (p + "mlp.c_fc.bias", [4 * hidden]),
            (p + "mlp.c_proj.weight", [4 * hidden, hidden]),
            (p + "mlp.c_proj.bias", [hidden]),
        ]
    tensors += [("transformer.ln_f.weight", [hidden]), ("transformer.ln_f.bias", [hidden])]
    return config, tensors


SHAPES = {
    "llama-8b": lambda: llama(128256, 4096, 32, 32, 8, 14336, 131072, False, 8.0),
    "llama-1b": lambda: llama(128256, 2048, 16, 32, 8, 8192, 131072, True, 32.0),
    "gpt2": lambda: gpt2(50257, 768, 12, 12, 1024),
    "tiny": lambda: llama(512, 64, 2, 4, 2, 160, 256, True),
}


def size(shape, item):
    n = item
    for d in shape:
        n *= d
    return n


def split(tensors, shards, item):
    """Consecutive groups of about the same number of bytes, none empty."""
    total = sum(size(s, item) for _, s in tensors)
    groups, done = [[]], 0
    for i, (name, shape) in enumerate(tensors):
        left = shards - len(groups)
        if groups[-1] and left and (done >= total * len(groups) / shards or len(tensors) - i <= left):
            groups.append([])
        groups[-1].append((name, shape))
        done += size(shape, item)
    return groups


def write_file(path, tensors, dtype, item):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        end = at + size(shape, item)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder to write (must hold no weights yet)")
    parser.add_argument("--shape", required=True, choices=sorted(SHAPES), help="which model's sizes")
    parser.add_argument("--dtype", default="bf16", choices=sorted(DTYPES), help="weight type (default bf16)")
    parser.add_argument("--shards", type=int, default=0, help="number of files (default: one for each 5 GB)")
    args = parser.parse_args()

    config, tensors = SHAPES[args.shape]()
    dtype, item, torch_name = DTYPES[args.dtype]
    total = sum(size(s, item) for _, s in tensors)
    shards = args.shards or -(-total // 5_000_000_000)
    if not 1 <= shards <= len(tensors):
        parser.error(f"--shards is {shards}; {args.shape} can be split into 1 to {len(tensors)} files")
    os.makedirs(args.out, exist_ok=True)
    old = [n for n in os.listdir(args.out) if n.endswith((".safetensors", ".safetensors.index.json"))]
    if old:
        sys.exit(f"{args.out}: already holds weights ({old[0]}); give another folder")

    config["torch_dtype"] = torch_name
    groups = split(tensors, shards, item)
    weight_map = {}
    for i, group in enumerate(groups):
        name = "model.safetensors" if shards == 1 else f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_file(os.path.join(args.out, name), group, dtype, item)
        weight_map.update((tensor, name) for tensor, _ in group)
    if shards > 1:
        with open(os.path.join(args.out, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, f, indent=2)
    with open(os.path.join(args.out, "config.json"), "w") as f:
        json.dump(config, f, indent=2)


if __name__ == "__main__":
    main()
