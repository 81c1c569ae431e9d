"""The whole path in Python: a run and two tables in, a checked ONNX network out.

fofa-train --recipe fofa-n3 --preset shapes --out runs/shapes
fofa-eval runs/shapes --out shapes.json
fofa-profile --device cpu --resolutions 24,32 --num-classes 10 --out laptop.json
python examples/quickstart.py runs/shapes --lut laptop.json --accuracy shapes.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fofa import api


def main() -> None:
    parser = argparse.ArgumentParser(description="From a budget to a network in a file.")
    parser.add_argument("run", type=Path, help="run folder, from fofa-train")
    parser.add_argument("--lut", type=Path, required=True, help="latency table of the device")
    parser.add_argument("--accuracy", type=Path, required=True, help="accuracy table of the run")
    parser.add_argument(
        "--max-latency", type=float, help="in ms; by default the middle of the front"
    )
    parser.add_argument("--out", type=Path, default=Path("network.onnx"), help="ONNX file to write")
    parser.add_argument("--image", type=Path, help="an image to classify")
    options = parser.parse_args()

    run = api.open_run(options.run)
    lut = api.load_lut(options.lut)
    accuracy = api.load_accuracy(options.accuracy)

    # What is possible: the networks that no other beats.
    front = api.pareto_front(lut, accuracy)
    for row in front:
        print(f"{row.architecture:>12}  {row.latency_ms:8.3f} ms ({row.method})  {row.top1:.2f}%")

    # The most accurate network within the budget.
    budget = options.max_latency or front[len(front) // 2].latency_ms
    best = api.search(lut, accuracy, max_latency_ms=budget)
    print(f"within {budget:.3f} ms: {best.architecture}, {best.top1:.2f}% ({best.top1_source})")

    # A network of its own, without the supernet.
    network = api.extract(run, best.architecture)
    if options.image:
        for prediction in network.predict(options.image, top=3):
            print(f"{prediction.probability:7.1%}  {prediction.class_name}")

    # A file that runs anywhere, checked against the supernet before it is kept.
    result = api.export(run, best.architecture, options.out)
    print(f"{result.out}: logits within {result.max_difference:.1e} of PyTorch's", end="")
    print(f", top-1 {result.accuracy.top1:.2f}% measured" if result.accuracy else "")


if __name__ == "__main__":
    main()
