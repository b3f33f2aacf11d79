"""Encoders side by side, interleaved: `commonspace bench encode`.

Every contender loads once in a process of its own. Then, round after round and every other
round in reverse order, each encodes while the others wait. A ratio is taken within a round;
quoted are its median and its range. Slow contenders encode every n-th item.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import contenders  # noqa: E402
import corpus  # noqa: E402
import peak  # noqa: E402
import table  # noqa: E402
from contender import Contender, Stopped  # noqa: E402

from commonspace.encoders.int8.fidelity import fidelity  # noqa: E402

INT8 = HERE / ".cache"
CALIBRATION_SEED, CORPUS_SEED = 1, 0


def text_contenders(int8: Path) -> list[Contender]:
    """The baseline, `encode(all)`, is first."""
    model = contenders.TEXT_MODEL
    return [
        Contender("SentenceTransformer.encode(all)", contenders.encode_all),
        Contender("commonspace fp32", contenders.ours, ("text", model, None)),
        Contender("commonspace int8", contenders.ours, ("text", str(int8), None)),
        Contender("encode, chunks of 256", contenders.encode_chunks, (256,), every=4),
        Contender("encode, row by row", contenders.encode_rows, every=4),
        *_on_gpu({"fp16": ("text", model, None, "fp16"), "bf16": ("text", model, None, "bf16")}),
    ]


def image_contenders(weights: str | None, int8: Path) -> list[Contender]:
    """The baseline, a `DataLoader`, is first."""
    model = "torchvision/resnet50"
    half = ("image", model, weights or "untrained", "fp16")
    on_gpu = {
        "fp16": half,
        "fp16 compiled": (*half, None, True),
        "fp16 nvJPEG": (*half, "nvjpeg"),
        "fp16 nvJPEG compiled": (*half, "nvjpeg", True),
    }
    return [
        Contender("DataLoader, 2 workers", contenders.data_loader, (weights, 2)),
        Contender("commonspace fp32", contenders.ours, ("image", model, weights or "untrained")),
        Contender("commonspace int8", contenders.ours, ("image", str(int8), None)),
        Contender("DataLoader, in process", contenders.data_loader, (weights, 0)),
        Contender("image by image", contenders.image_rows, (weights,), every=2),
        *_on_gpu(on_gpu),
    ]


def _on_gpu(entries: dict[str, tuple[Any, ...]]) -> list[Contender]:
    """Encoders of ours that need a CUDA device, where there is one."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [Contender(f"commonspace {name}", contenders.ours, entries[name]) for name in entries]


def int8_model(modality: str, weights: str | None) -> Path:
    """The int8 model of the benchmark, made once from items that are not measured."""
    from commonspace.encoders.catalog import quantise
    from commonspace.encoders.reference import EncoderReference

    if modality == "text":
        reference = EncoderReference(contenders.TEXT_MODEL, "text")
        sample: Sequence[Any] = corpus.texts(400, CALIBRATION_SEED)
    else:
        reference = EncoderReference(
            "torchvision/resnet50", "image", weights=weights or "untrained"
        )
        sample = corpus.photos(128, CALIBRATION_SEED)
    folder = INT8 / f"{modality}-{'trained' if weights or modality == 'text' else 'untrained'}-int8"
    if not folder.exists():
        cut = len(sample) * 3 // 4
        sys.stderr.write(f"making {folder.name}, once\n")
        quantise(reference, folder, sample[:cut], sample[cut:])
    return folder


def measure(
    entries: Sequence[Contender], contents: Sequence[Any], rounds: int
) -> list[dict[str, Any]]:
    """Run all contenders, interleaved, and compare them with the first."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = [entry for entry in entries if _started(entry, contents, folder)]
        for done in range(rounds):
            order = list(enumerate(entries))
            for number, entry in order if done % 2 == 0 else reversed(order):
                if _ran(entry, len(contents), folder / f"{number}.npy" if done == 0 else None):
                    rate = f"{entry.rates()[-1]:.1f}/s"
                    sys.stderr.write(f"round {done + 1}: {entry.name} {rate}\n")
        for entry in entries:
            entry.process.stdin.close()
            entry.process.wait()
        expected = np.load(folder / "0.npy")
        return [
            _row(entry, entries[0], expected, folder / f"{number}.npy")
            for number, entry in enumerate(entries)
            if len(entry.rounds) == rounds
        ]


def _ran(entry: Contender, count: int, save: Path | None) -> bool:
    """Whether it did its round; a peer that stops is left out, loudly."""
    try:
        entry.run(count, save)
    except (Stopped, OSError) as error:
        if not entry.optional:
            raise
        sys.stderr.write(f"NOT MEASURED: {error}\n")
        return False
    return True


def _started(entry: Contender, contents: Sequence[Any], folder: Path) -> bool:
    sys.stderr.write(f"loading {entry.name}\n")
    try:
        entry.start(contents, folder)
    except Stopped as error:
        if not entry.optional:
            raise
        sys.stderr.write(f"NOT MEASURED: {error}\n")
        return False
    return True


def _row(entry: Contender, base: Contender, expected: np.ndarray, saved: Path) -> dict[str, Any]:
    pairs = zip(entry.rates(), base.rates(), strict=True)
    ratios = sorted(own / other for own, other in pairs)
    vectors = np.load(saved)
    near = fidelity(vectors, expected[:: entry.every][: len(vectors)])
    return {
        "contender": entry.name,
        "items_per_second": statistics.median(entry.rates()),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "cosine_mean": near.cosine_mean,
        "cosine_min": near.cosine_min,
        "neighbours": near.neighbours,
        "peak_bytes": max(done["peak_bytes"] for done in entry.rounds),
    }


def hardware() -> dict[str, Any]:
    """What it ran on, and what that can do in fp32."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc").exists() else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpu": gpu,
        "load_before": os.getloadavg()[0],
        "peak_fp32_flop_per_second": peak.measured_peak(),
    }


def overlaps(
    weights: str | None, int8: Path, photos: Sequence[bytes], rounds: int
) -> dict[str, Any]:
    """By encoder of ours, what `overlap` finds."""
    from overlap import overlap

    ours = {"fp32": ("torchvision/resnet50", weights or "untrained"), "int8": (str(int8), None)}
    return {name: overlap(*named, photos, rounds) for name, named in ours.items()}


def flop_of(modality: str, contents: Sequence[Any]) -> float:
    """Floating-point operations that one item needs on average, no padding counted."""
    if modality == "image":
        return peak.RESNET50_FLOP
    from commonspace.encoders.catalog import load
    from commonspace.encoders.reference import EncoderReference

    encoder = load(EncoderReference(contenders.TEXT_MODEL, "text"))
    facts = encoder.encode(list(contents)[:500]).facts
    tokens = [int(fact["tokens_used"]) for fact in facts]
    return peak.minilm_flop(tokens) / len(tokens)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="commonspace bench encode", description=__doc__)
    parser.add_argument("modality", choices=["text", "image"])
    parser.add_argument("--items", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", help="ResNet-50 weights (.safetensors); untrained without")
    parser.add_argument("--peers", nargs="*", default=[], help="peers to install and measure")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    answer = {"modality": options.modality, "hardware": hardware()}
    int8 = int8_model(options.modality, options.weights)
    if options.modality == "text":
        contents: Sequence[Any] = corpus.texts(options.items or 2000, CORPUS_SEED)
        entries = text_contenders(int8)
    else:
        contents = corpus.photos(options.items or 96, CORPUS_SEED)
        entries = image_contenders(options.weights, int8)
    if options.peers:
        import peers

        entries += peers.contenders(options.modality, options.peers, options.weights)
    answer |= {"items": len(contents), "flop_per_item": flop_of(options.modality, contents)}
    answer["contenders"] = measure(entries, contents, options.rounds)
    best = answer["hardware"]["peak_fp32_flop_per_second"]
    answer["hardware"]["peak_fp32_flop_per_second"] = max(best, peak.measured_peak())
    if options.modality == "image":
        answer["overlap"] = overlaps(options.weights, int8, contents, options.rounds)
    for row in answer["contenders"]:
        if not {"int8", "fp16", "bf16"} & set(row["contender"].split()):  # the peak is fp32's
            used = row["items_per_second"] * answer["flop_per_item"]
            row["share_of_peak"] = used / answer["hardware"]["peak_fp32_flop_per_second"]
    if options.as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        table.show(answer)


if __name__ == "__main__":
    main()
