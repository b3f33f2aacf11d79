"""The peers, each as its own documentation has it and with its own defaults.

They run in an environment of their peer's: this module imports nothing that one may lack.
Each loads a model and returns a function from contents to vectors (n, dim) float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Run = Callable[[Sequence[Any]], np.ndarray]
DAFT_IMAGES = 100
"""A batch of Daft's own benchmark of image classification."""


def fastembed(model: str) -> Run:
    """A custom model; `model` holds `model.onnx`, which `peer_models` makes."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local"),
        dim=384,
        model_file="model.onnx",
    )
    embedding = TextEmbedding("local", specific_model_path=model)
    return lambda texts: np.stack(list(embedding.embed(list(texts))))


def infinity(model: str) -> Run:
    """The engine in process, without a server between.

    BetterTransformer is off: it needs an `optimum` that goes with no current torch.
    """
    from infinity_emb import EngineArgs, SyncEngineArray

    settings = EngineArgs(model_name_or_path=model, engine="torch", bettertransformer=False)
    engine = SyncEngineArray.from_args([settings])

    def run(texts: Sequence[str]) -> np.ndarray:
        vectors, _ = engine.embed(model=model, sentences=list(texts)).result()
        return np.stack(vectors)

    return run


def model2vec(model: str) -> Run:
    """Static vectors of tokens; `model` was distilled from the same model by `peer_models`."""
    from model2vec import StaticModel

    static = StaticModel.from_pretrained(model)

    def run(texts: Sequence[str]) -> np.ndarray:
        vectors = static.encode(list(texts))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)

    return run


def daft_text(model: str) -> Run:
    """`embed_text`; Daft loads the model anew for every query, so each round pays for it."""
    import daft
    from daft.functions import embed_text

    def run(texts: Sequence[str]) -> np.ndarray:
        vector = embed_text(daft.col("text"), provider="transformers", model=model)
        table = daft.from_pydict({"text": list(texts)}).with_column("vector", vector)
        return np.asarray(table.to_pydict()["vector"], dtype=np.float32)

    return run


def daft_image(weights: str | None) -> Run:
    """Daft decodes, applies the transform photo by photo, and calls ResNet-50 batch by batch."""
    import daft
    import torch
    from contenders import _resnet
    from torchvision.transforms.functional import to_tensor

    model, transform = _resnet(weights)
    device = next(model.parameters()).device
    tensor = daft.DataType.tensor(daft.DataType.float32(), shape=(3, 224, 224))

    @daft.func.batch(
        return_dtype=daft.DataType.embedding(daft.DataType.float32(), 2048), batch_size=DAFT_IMAGES
    )
    def encode(images: Any) -> Any:
        batch = torch.from_numpy(np.array(images.to_pylist())).to(device)
        with torch.inference_mode():
            return torch.nn.functional.normalize(model(batch), dim=1).cpu().numpy()

    def run(files: Sequence[bytes]) -> np.ndarray:
        image = daft.col("file").decode_image(mode="RGB")
        prepared = image.apply(lambda pixels: transform(to_tensor(pixels)).numpy(), tensor)
        table = daft.from_pydict({"file": list(files)}).select(encode(prepared).alias("vector"))
        return np.asarray(table.to_pydict()["vector"], dtype=np.float32)

    return run
