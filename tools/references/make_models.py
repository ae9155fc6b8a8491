# SPDX-License-Identifier: Apache-2.0
"""Writes the tiny random models of tests/data/models and what transformers computes from them.

Each folder is an ordinary Hugging Face model folder plus expected.json and expected.safetensors; the README
beside the folders gives the layout. Nothing at build or test time runs this: the files are committed, and the
script is here so that they can be made again or extended.

The weights are far larger than a trained model's initialisation, and norms and biases are off their defaults,
because with the usual 0.02 a wrong mask, a wrong rotation or a forgotten bias vanishes in the tolerance.
Every folder is checked for that: `sensitivities` changes one thing at a time in the configuration and insists
that the logits move by far more than a test's tolerance.

    python3 -m venv venv && venv/bin/pip install torch transformers safetensors numpy
    venv/bin/python tools/references/make_models.py [--out tests/data/models] [name ...]
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors

transformers.utils.logging.disable_progress_bar()

VOCAB = 160
EOS = VOCAB - 1
BASE_LENGTH = 44
CASE_LENGTH = 20
GREEDY_LENGTH = 24
MIN_MARGIN = 5e-3  # top-1 minus top-2 logit at each greedy step; f32 noise is about 1e-5
STORAGE = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# Keys that only the spelling of transformers 5 has.
V5_ONLY = ("dtype", "rope_parameters", "layer_types", "transformers_version")


def llama_like(**changes):
    values = {
        "vocab_size": VOCAB,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": EOS,
        "pad_token_id": None,
        "tie_word_embeddings": False,
    }
    values.update(changes)
    return values


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

# config class, its arguments, how it is stored, and configuration changes that must be visible in the logits
MODELS = {
    # Twelve-element heads, so that nothing may lean on a power of two.
    "gpt2": {
        "config": transformers.GPT2Config,
        "values": {
            "vocab_size": VOCAB,
            "n_positions": 72,
            "n_embd": 48,
            "n_layer": 2,
            "n_head": 4,
            "n_inner": 80,
            "layer_norm_epsilon": 1e-3,
            "bos_token_id": EOS,
            "eos_token_id": EOS,
        },
        "storage": "f32",
        "sensitivities": [
            {"layer_norm_epsilon": 1e-5},
            {"activation_function": "relu"},
            {"scale_attn_weights": False},
        ],
    },
    # As on the hub: names without "transformer.", the causal masks stored as tensors, a config.json of 2019.
    "gpt2-hub": {
        "config": transformers.GPT2Config,
        "values": {
            "vocab_size": VOCAB,
            "n_positions": 80,
            "n_embd": 48,
            "n_layer": 2,
            "n_head": 2,
            "bos_token_id": EOS,
            "eos_token_id": EOS,
        },
        "storage": "f16",
        "hub_layout": True,
        "sensitivities": [{"activation_function": "relu"}],
    },
    "llama": {
        "config": transformers.LlamaConfig,
        "values": llama_like(
            intermediate_size=56,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        "storage": "f32",
        "packed_case": True,
        "sensitivities": [{"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}],
    },
    # All three branches of the llama3 scaling: pair 0 is kept, pair 1 is blended, the others are divided.
    "llama3": {
        "config": transformers.LlamaConfig,
        "values": llama_like(
            num_hidden_layers=3,
            num_attention_heads=3,
            num_key_value_heads=1,
            rms_norm_eps=1e-5,
            eos_token_id=[EOS, EOS - 2],
            rope_parameters=LLAMA3_ROPE,
        ),
        "storage": "bf16",
        "shard_size": "80KB",
        "shards": 2,
        "sensitivities": [
            {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
            {"rope_parameters": dict(LLAMA3_ROPE, low_freq_factor=2.0)},
            {"rope_parameters": dict(LLAMA3_ROPE, high_freq_factor=2.0)},
            {"rope_parameters": dict(LLAMA3_ROPE, original_max_position_embeddings=64)},
        ],
    },
    # Heads wider than hidden / heads, biases everywhere, an epsilon that shows.
    "llama-bias": {
        "config": transformers.LlamaConfig,
        "values": llama_like(
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
            rms_norm_eps=1e-3,
            rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        ),
        "storage": "f32",
        "sensitivities": [
            {"rms_norm_eps": 1e-6},
            {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        ],
    },
    "mistral": {
        "config": transformers.MistralConfig,
        "values": llama_like(
            intermediate_size=60,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=12,
            sliding_window=16,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        "storage": "f32",
        "sensitivities": [{"sliding_window": None}, {"sliding_window": 15}, {"sliding_window": 17}],
    },
    # The spelling of transformers 4 has a window here that is switched off.
    "qwen2": {
        "config": transformers.Qwen2Config,
        "values": llama_like(
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            use_sliding_window=False,
            sliding_window=16,
            max_window_layers=1,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        ),
        "storage": "f32",
        "v4": {"sliding_window": 16},
        "sensitivities": [{"use_sliding_window": True, "sliding_window": 16, "layer_types": None}],
    },
    # Window on, but only from layer 1 on.
    "qwen2-window": {
        "config": transformers.Qwen2Config,
        "values": llama_like(
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-6,
            use_sliding_window=True,
            sliding_window=16,
            max_window_layers=1,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        "storage": "bf16",
        "sensitivities": [
            {"layer_types": ["full_attention", "full_attention"]},
            {"layer_types": ["sliding_attention", "sliding_attention"]},
        ],
    },
    "qwen3": {
        "config": transformers.Qwen3Config,
        "values": llama_like(
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        ),
        "storage": "f32",
        "sensitivities": [{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    },
}


def is_norm(name):
    return any(part in name for part in ("norm", "ln_1", "ln_2", "ln_f"))


def fill(model, seed):
    """Draws all weights from numpy, so that they do not depend on the version of torch."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = rng.standard_normal(tuple(weight.shape), dtype=np.float32)
            if is_norm(name):
                values = (0.1 if name.endswith("bias") else 1.0) + 0.2 * values
            elif name.endswith("bias"):
                values = 0.1 * values
            else:
                values = 0.15 * values
            weight.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    model.tie_weights()


def write_json(path, value, indent=2):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=indent, sort_keys=indent is not None)
        out.write("\n")


def write_hub_gpt2(model, folder):
    config = model.config
    tensors = {}
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            tensors[name.removeprefix("transformer.")] = weight.contiguous()
    causal = torch.tril(torch.ones(config.n_positions, config.n_positions)).view(1, 1, config.n_positions, -1)
    for layer in range(config.n_layer):
        tensors[f"h.{layer}.attn.bias"] = causal.to(torch.float16).clone()
    save_tensors(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    write_json(
        os.path.join(folder, "config.json"),
        {
            "activation_function": "gelu_new",
            "architectures": ["GPT2LMHeadModel"],
            "attn_pdrop": 0.1,
            "bos_token_id": config.bos_token_id,
            "embd_pdrop": 0.1,
            "eos_token_id": config.eos_token_id,
            "initializer_range": 0.02,
            "layer_norm_epsilon": config.layer_norm_epsilon,
            "model_type": "gpt2",
            "n_ctx": config.n_positions,
            "n_embd": config.n_embd,
            "n_head": config.n_head,
            "n_layer": config.n_layer,
            "n_positions": config.n_positions,
            "resid_pdrop": 0.1,
            "summary_activation": None,
            "summary_first_dropout": 0.1,
            "summary_proj_to_labels": True,
            "summary_type": "cls_index",
            "summary_use_proj": True,
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
            "vocab_size": config.vocab_size,
        },
    )


def write_v4_config(folder, spec):
    """config.json as transformers 4 would have written it."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    rope = dict(config["rope_parameters"])
    old = {key: value for key, value in config.items() if key not in V5_ONLY}
    if "head_dim" not in spec["values"]:
        old.pop("head_dim", None)
    old["torch_dtype"] = config["dtype"]
    old["transformers_version"] = "4.45.0"
    old["rope_theta"] = rope.pop("rope_theta")
    old["rope_scaling"] = None if rope == {"rope_type": "default"} else rope
    old.update(spec.get("v4", {}))
    write_json(os.path.join(folder, "config.v4.json"), old)


def load(folder, **changes):
    config = transformers.AutoConfig.from_pretrained(folder)
    for key, value in changes.items():
        setattr(config, key, value)
    if changes:  # derived fields such as layer_types are filled in by the constructor
        values = config.to_dict()
        values.pop("layer_types", None)
        values.update(changes)
        config = type(config)(**values)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


@torch.no_grad()
def forward(model, ids, positions=None, mask=None):
    arguments = {"input_ids": torch.tensor([ids]), "use_cache": False}
    if positions is not None:
        arguments["position_ids"] = torch.tensor([positions])
    if mask is not None:
        arguments["attention_mask"] = torch.tensor([mask])
    hidden = model.base_model(**arguments).last_hidden_state
    logits = model(**arguments).logits
    return logits[0].numpy().astype(np.float32), hidden[0].numpy().astype(np.float32)


def greedy(model, prompt):
    """Continues without a cache, so that the reference has one thing less that can be wrong."""
    ids, margin = list(prompt), float("inf")
    for _ in range(GREEDY_LENGTH):
        last = forward(model, ids)[0][-1]
        second, first = np.sort(last)[-2:]
        margin = min(margin, float(first - second))
        ids.append(int(last.argmax()))
    return ids[len(prompt) :], margin


def relative(a, b):
    return float(np.linalg.norm(np.float64(a) - b) / np.linalg.norm(np.float64(b)))


def cases(rng, spec):
    """The inputs; (name, ids, positions, mask, store hidden states)."""

    def draw(count):
        return [int(v) for v in rng.integers(0, EOS - 2, count)]

    count = CASE_LENGTH
    yield "base", draw(BASE_LENGTH), None, None, True
    # Ascending by one from an offset, without a mask.
    yield "positions_offset", draw(count), list(range(9, 9 + count)), None, False
    # Gaps, a repetition and a step back. The mask of ones is needed: without one, transformers takes any step
    # other than +1 for the start of another sequence.
    yield (
        "positions_gaps",
        draw(count),
        [0, 1, 2, 5, 6, 7, 7, 8, 20, 21, 22, 40, 41, 42, 43, 30, 31, 50, 60, 61],
        [1] * count,
        False,
    )
    left = [0] * 6 + [1] * (count - 6)
    # forward() alone: positions count from 0 whatever the mask says.
    yield "mask_left", draw(count), None, left, False
    # As generate() passes them: the cumulative sum of the mask less one, 0 where masked.
    yield "mask_left_generate", draw(count), [0] * 6 + list(range(count - 6)), left, True
    yield "mask_holes", draw(count), None, [1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1], False
    if spec.get("packed_case"):
        yield "positions_packed", draw(12), list(range(5)) + list(range(7)), None, False


def attempt(folder, spec, seed):
    """Writes one model with this seed; None where the greedy runs are near a tie or dull."""
    config = spec["config"](**spec["values"])
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    fill(model, seed)
    model.to(STORAGE[spec["storage"]])
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    if spec.get("hub_layout"):
        write_hub_gpt2(model, folder)
    else:
        model.save_pretrained(folder, max_shard_size=spec.get("shard_size", "1GB"))
        generation = os.path.join(folder, "generation_config.json")
        if os.path.exists(generation):
            os.remove(generation)
    model = load(folder)
    rng = np.random.default_rng(seed + 1000)
    runs = []
    for length in (BASE_LENGTH, 1):
        prompt = [int(v) for v in rng.integers(0, EOS - 2, length)]
        tokens, margin = greedy(model, prompt)
        if margin < MIN_MARGIN or EOS in tokens or EOS - 2 in tokens or len(set(tokens)) < 10:
            return None
        cached = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=GREEDY_LENGTH,
            do_sample=False,
            pad_token_id=EOS,
            attention_mask=torch.ones(1, length, dtype=torch.long),
        )
        if cached[0, length:].tolist() != tokens:
            sys.exit(f"{folder}: transformers' own generate() differs from greedy steps without a cache")
        runs.append({"prompt": prompt, "tokens": tokens, "min_margin": round(margin, 6)})
    return model, rng, runs


def make(name, spec, out):
    folder = os.path.join(out, name)
    seed = 1
    while (made := attempt(folder, spec, seed)) is None:
        seed += 1
    model, rng, runs = made

    shards = sorted(f for f in os.listdir(folder) if f.endswith(".safetensors"))
    if len(shards) != spec.get("shards", 1):
        sys.exit(f"{name}: {len(shards)} shards written, {spec.get('shards', 1)} wanted; change shard_size")

    arrays, listed = {}, []
    for case, ids, positions, mask, with_hidden in cases(rng, spec):
        logits, hidden = forward(model, ids, positions, mask)
        rows = [i for i in range(len(ids)) if mask is None or mask[i]]
        if not np.isfinite(logits[rows]).all():
            sys.exit(f"{name}/{case}: logits are not finite")
        wide = load(folder).double()
        exact = forward(wide, ids, positions, mask)[0]
        if relative(logits[rows], exact[rows]) > 5e-6:
            sys.exit(
                f"{name}/{case}: f32 noise {relative(logits[rows], exact[rows])} is too near the tolerance"
            )
        arrays[f"{case}.logits"] = logits
        if with_hidden:
            arrays[f"{case}.hidden"] = hidden
        listed.append(
            {
                "name": case,
                "input_ids": ids,
                "position_ids": positions,
                "attention_mask": mask,
                "rows": rows,
                "logits": f"{case}.logits",
                "hidden": f"{case}.hidden" if with_hidden else None,
            }
        )
        if case.startswith("positions"):  # one sequence, or two that do not see each other
            moved = forward(model, [ids[0] + 1] + ids[1:], positions, mask)[0]
            if np.array_equal(moved[-1], logits[-1]) != (case == "positions_packed"):
                sys.exit(f"{name}/{case}: transformers split the sequence otherwise than expected")
        # Inputs that a wrong implementation may ignore must be visible.
        if mask is not None and positions is None:
            ignored = forward(model, ids)[0]
        elif positions is not None and name.startswith("gpt2"):
            ignored = forward(model, ids, None, mask)[0]
        else:
            ignored = None
        if ignored is not None and relative(ignored[rows], logits[rows]) < 1e-2:
            sys.exit(f"{name}/{case}: ignoring the mask or the positions would pass unseen")

    base = next(c for c in listed if c["name"] == "base")
    logits = arrays["base.logits"]
    moved = forward(model, [base["input_ids"][0] + 1] + base["input_ids"][1:])[0]
    weakest = relative(moved[10:16], logits[10:16])
    for changes in spec["sensitivities"]:
        moved = forward(load(folder, **changes), base["input_ids"])[0]
        weakest = min(weakest, relative(moved, logits))
    if weakest < 5e-3:
        sys.exit(f"{name}: a change that a test should notice moves the logits by only {weakest}")

    if "rope_parameters" in spec["values"]:
        write_v4_config(folder, spec)
        with tempfile.TemporaryDirectory() as other:
            for file in os.listdir(folder):
                if file != "config.json":
                    shutil.copy(os.path.join(folder, file), os.path.join(other, file))
            shutil.move(os.path.join(other, "config.v4.json"), os.path.join(other, "config.json"))
            if not np.array_equal(forward(load(other), base["input_ids"])[0], logits):
                sys.exit(f"{name}: config.v4.json does not mean the same as config.json")

    save_arrays(arrays, os.path.join(folder, "expected.safetensors"))
    write_json(
        os.path.join(folder, "expected.json"),
        {
            "format": 1,
            "model_type": model.config.model_type,
            "architecture": type(model).__name__,
            "stored_dtype": spec["storage"],
            "vocab_size": VOCAB,
            "hidden_size": model.config.hidden_size,
            "seed": seed,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "cases": listed,
            "greedy": runs,
        },
        indent=None,
    )
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    margin = min(run["min_margin"] for run in runs)
    print(
        f"{name}: seed {seed}, {len(shards)} file(s) {spec['storage']}, {size / 1000:.0f} KB, "
        f"smallest margin {margin:.4f}, weakest sensitivity {weakest:.3f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--out", default=os.path.join(here, "..", "..", "tests", "data", "models"))
    parser.add_argument("names", nargs="*", help="models to write; all of them without a name")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MODELS)
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    for name in arguments.names or MODELS:
        make(name, MODELS[name], os.path.normpath(arguments.out))


if __name__ == "__main__":
    main()
