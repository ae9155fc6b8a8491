#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains models/tiny: a small Llama in plain PyTorch, saved in the layout of transformers.

The whole recipe is in this file: architecture, initialisation, data order, optimiser, schedule. It needs
one GPU with bf16 (a few minutes on a current data-centre card). The parameter names are those of
LlamaForCausalLM, so the saved folder loads with AutoModelForCausalLM.
"""
import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dtype": "bfloat16",
    "eos_token_id": 1,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 384,
    "initializer_range": 0.02,
    "intermediate_size": 768,
    "max_position_embeddings": 1024,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 6,
    "num_hidden_layers": 8,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 6144,
}
HIDDEN, HEADS, KV_HEADS, HEAD_DIM = 384, 6, 2, 64
LAYERS, INTERMEDIATE, VOCAB, CONTEXT = 8, 768, 6144, 1024
SHARDS = 2


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return F.rms_norm(x.float(), (HIDDEN,), self.weight.float(), CONFIG["rms_norm_eps"]).to(x.dtype)


def rotate(x, cos, sin):
    """Rotary embedding, pairs (i, i + head_dim / 2) as in transformers' Llama."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(HIDDEN, HEADS * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q = rotate(self.q_proj(x).view(batch, length, HEADS, HEAD_DIM).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(batch, length, KV_HEADS, HEAD_DIM).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(batch, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        k = k.repeat_interleave(HEADS // KV_HEADS, dim=1)
        v = v.repeat_interleave(HEADS // KV_HEADS, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, HEADS * HEAD_DIM))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(HIDDEN, INTERMEDIATE, bias=False)
        self.up_proj = nn.Linear(HIDDEN, INTERMEDIATE, bias=False)
        self.down_proj = nn.Linear(INTERMEDIATE, HIDDEN, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = RMSNorm()
        self.self_attn = Attention()
        self.post_attention_layernorm = RMSNorm()
        self.mlp = MLP()

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RMSNorm()


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Decoder()
        angles = torch.outer(torch.arange(CONTEXT).float(),
                             CONFIG["rope_theta"] ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                # The two projections that write to the residual stream start smaller.
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)

    def forward(self, ids, targets):
        """Sum of the negative log likelihood (nats) of `targets` [B, T] after `ids` [B, T]."""
        x = self.model.embed_tokens(ids).to(torch.bfloat16)
        cos, sin = self.cos[:ids.shape[1]].to(x.dtype), self.sin[:ids.shape[1]].to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        logits = F.linear(self.model.norm(x), self.model.embed_tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")


def save(state, folder):
    """Two bf16 safetensors shards with their index, config.json and generation_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to(torch.bfloat16).cpu().contiguous() for k, v in state.items()}
    total = sum(v.nbytes for v in state.values())
    shards, size = [{}], 0
    for name, tensor in state.items():
        if size >= total / SHARDS and len(shards) < SHARDS:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        file_name = f"model-{i:05d}-of-{SHARDS:05d}.safetensors"
        save_file(shard, str(folder / file_name), metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file_name))
    parameters = sum(v.numel() for v in state.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_parameters": parameters, "total_size": total},
         "weight_map": dict(sorted(weight_map.items()))}, indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(
        {"bos_token_id": 0, "do_sample": True, "eos_token_id": 1, "max_new_tokens": 200, "temperature": 0.8,
         "top_p": 0.95}, indent=2) + "\n")


def epochs(tokens, batch, generator):
    """Endless batches of start offsets: every pass cuts the stream at another place and shuffles the cuts."""
    while True:
        shift = int(torch.randint(CONTEXT, (1,), generator=generator))
        count = (len(tokens) - 1 - shift) // CONTEXT
        order = torch.randperm(count, generator=generator) * CONTEXT + shift
        for i in range(0, count - batch + 1, batch):
            yield order[i:i + batch]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tiny-data"))
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("models/tiny"))
    parser.add_argument("--steps", type=int, default=19000)
    parser.add_argument("--batch", type=int, default=64, help="sequences of 1024 tokens a step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--final-lr", type=float, default=0.02, help="as a share of --lr")
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--eval-every", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-save", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    generator = torch.Generator().manual_seed(args.seed)
    device = torch.device("cuda")
    train, held_out = (
        torch.from_numpy(np.fromfile(args.data / name, dtype="<u2").astype(np.int32)).to(device)
        for name in ("train.bin", "heldout.bin"))
    span = torch.arange(CONTEXT + 1, device=device)

    model = Llama().to(device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(train)} training tokens, "
          f"{args.steps * args.batch * CONTEXT / len(train):.1f} passes", flush=True)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": args.weight_decay}, {"params": norms, "weight_decay": 0.0}],
        lr=args.lr, betas=(0.9, 0.95), eps=1e-8, fused=True)
    step_model = torch.compile(model)

    def loss_of(tokens, starts):
        window = tokens[starts.to(device)[:, None] + span].long()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            return step_model(window[:, :-1], window[:, 1:])

    def evaluate():
        """Nats a token on the held-out stream, cut into windows without overlap."""
        starts = torch.arange((len(held_out) - 1) // CONTEXT) * CONTEXT
        starts = starts[:len(starts) // 128 * 128]
        with torch.no_grad():
            total = sum(loss_of(held_out, part).item() for part in starts.split(args.batch))
        return total / (len(starts) * CONTEXT)

    best, started, log_loss = math.inf, time.time(), 0.0
    batches = epochs(train, args.batch, generator)
    for step in range(args.steps):
        progress = step / args.steps
        warm = min(1.0, (step + 1) / args.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * warm * (args.final_lr + (1 - args.final_lr) * cosine)
        loss = loss_of(train, next(batches)) / (args.batch * CONTEXT)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log_loss += loss.detach()
        if (step + 1) % 100 == 0:
            seconds = time.time() - started
            print(f"step {step + 1} loss {log_loss.item() / 100:.4f} {seconds:.0f} s", flush=True)
            log_loss = 0.0
        if (step + 1) % args.eval_every == 0 or step + 1 == args.steps:
            value = evaluate()
            print(f"step {step + 1} held-out {value:.4f} nats a token"
                  f"{' (best)' if value < best else ''}, {time.time() - started:.0f} s", flush=True)
            if value < best:
                best = value
                if not args.no_save:
                    save(model.state_dict(), args.model)
    print(f"best held-out {best:.4f} nats a token")


if __name__ == "__main__":
    main()
