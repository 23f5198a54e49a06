"""sentence-transformers in a loop: `PYTHON sentence_loop.py MODEL TEXTS.json SECONDS` prints texts a second at its best
batch size, on one thread."""

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

SIZES = (1, 4, 8, 16, 32, 64)


def main(folder: str, texts: str, seconds: float) -> None:
    torch.set_num_threads(1)
    model = SentenceTransformer(folder, device="cpu")
    with open(texts) as file:
        sentences = json.load(file)
    model.encode(sentences[:8])

    def rate(size: int, limit: float) -> float:
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < limit or not count:
            model.encode(sentences, batch_size=size)
            count += len(sentences)
        return count / spent if spent else 0.0

    best = max(SIZES, key=lambda size: rate(size, seconds / len(SIZES) / 2))
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        model.encode(sentences, batch_size=best)
        count += len(sentences)
    print(json.dumps({"rate": count / (time.perf_counter() - start), "batch": best}))


main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
