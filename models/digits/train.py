"""Train the digit classifier and write everything that lies beside this file.

    python models/digits/train.py

A small convolutional network on scikit-learn's handwritten digits (1,797 grey images of 8x8). It is exported with
its BatchNormalization nodes kept, so that an optimizer has something to fold, and with a dynamic batch. A fifth of
the images, chosen per class with a fixed seed, is held out of training: it becomes the evaluation set.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from reference import write_test_data  # noqa: E402

SEED = 20240
EPOCHS = 40
BATCH = 32
DROPOUT = 0.3
LEARNING_RATE = 5e-3
OPSET = 13


class Digits(nn.Module):
    """image [batch, 1, 8, 8] in 0..1 -> logits [batch, 10]"""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *self.block(1, 16), *self.block(16, 32), nn.MaxPool2d(2), *self.block(32, 64), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(64 * 2 * 2, 10))

    @staticmethod
    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU()]

    def forward(self, image):
        return self.classifier(self.features(image).flatten(1))


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, held-out images, training labels, held-out labels)"""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    return train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)


def train(images: torch.Tensor, labels: torch.Tensor) -> Digits:
    model = Digits()
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1:2d}/{EPOCHS}  loss {loss.item():.4f}", flush=True)
    return model.eval()


def export(model: Digits, path: Path) -> None:
    # The default exporter folds BatchNormalization into Conv; this one keeps it if told to keep the training mode.
    torch.onnx.export(
        model, (torch.zeros(2, 1, 8, 8),), str(path), dynamo=False, opset_version=OPSET,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    onnx.checker.check_model(onnx.load(path), full_check=True)


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_images, held_out, train_labels, held_out_labels = data()
    model = train(torch.from_numpy(train_images), torch.from_numpy(train_labels))

    path = HERE / "model.onnx"
    export(model, path)
    np.save(HERE / "eval_images.npy", held_out)
    np.save(HERE / "eval_labels.npy", held_out_labels)
    for i, count in enumerate((1, 16)):
        images = held_out[:count]
        (logits,) = write_test_data(HERE / f"test_data_set_{i}", path, {"image": images})
        with torch.no_grad():
            np.testing.assert_allclose(logits, model(torch.from_numpy(images)).numpy(), rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main()
