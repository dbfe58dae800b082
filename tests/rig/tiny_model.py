"""Writes a model of random weights, half a megabyte, that knows single bytes and the printable ASCII characters: what it says
means nothing, and it says it as any model does. Run by the Python that has llama.cpp: `python tiny_model.py FILE.gguf`."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 4096
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def vocabulary(kinds: Any) -> tuple[list[bytes], list[Any]]:
    """Its tokens and their kinds: three that control, 256 bytes, and characters."""
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    tokens += ["▁".encode(), *(bytes([code]) for code in range(33, 127))]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256]
    return tokens, [*types, *[kinds.NORMAL] * (len(tokens) - len(types))]


def write(path: Path) -> None:
    """Write it."""
    import numpy as np

    gguf: Any = import_module("gguf")
    maker, chance = gguf.GGUFWriter(str(path), "llama"), np.random.default_rng(7)
    tokens, types = vocabulary(gguf.TokenType)
    for name, value in (
        ("name", "tiny"),
        ("context_length", CONTEXT),
        ("embedding_length", WIDTH),
        ("block_count", LAYERS),
        ("feed_forward_length", INNER),
        ("head_count", HEADS),
        ("head_count_kv", HEADS),
        ("layer_norm_rms_eps", 1e-5),
        ("rope_dimension_count", WIDTH // HEADS),
        ("vocab_size", len(tokens)),
        ("tokenizer_model", "llama"),
        ("token_list", tokens),
        ("token_scores", [-float(at) if at > 258 else 0.0 for at in range(len(tokens))]),
        ("token_types", types),
        ("bos_token_id", 1),
        ("eos_token_id", 2),
        ("unk_token_id", 0),
        ("chat_template", TEMPLATE),
    ):
        getattr(maker, f"add_{name}")(value)

    def weights(name: str, *shape: int) -> None:
        maker.add_tensor(f"{name}.weight", (chance.standard_normal(shape) * 0.05).astype(np.float32))

    def ones(name: str) -> None:
        maker.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    weights("token_embd", len(tokens), WIDTH)
    weights("output", len(tokens), WIDTH)
    ones("output_norm")
    for layer in (f"blk.{number}" for number in range(LAYERS)):
        ones(f"{layer}.attn_norm")
        ones(f"{layer}.ffn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(f"{layer}.{part}", WIDTH, WIDTH)
        weights(f"{layer}.ffn_gate", INNER, WIDTH)
        weights(f"{layer}.ffn_up", INNER, WIDTH)
        weights(f"{layer}.ffn_down", WIDTH, INNER)
    maker.write_header_to_file()
    maker.write_kv_data_to_file()
    maker.write_tensors_to_file()
    maker.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
