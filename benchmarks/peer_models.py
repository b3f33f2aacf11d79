"""The text model in a form that a peer needs: `peer_models.py PEER MODEL TARGET`.

Runs once, in the peer's own environment and in a process of its own, so that neither its time
nor its memory is counted.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

MAX_TOKENS = 256
"""all-MiniLM-L6-v2's `max_seq_length`."""


def export_onnx(model: Path, target: Path) -> None:
    """The transformer alone, as fastembed expects it: it pools and normalises by itself."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    shutil.copy(model / "config.json", target)
    shutil.copy(model / "special_tokens_map.json", target)
    # fastembed cuts at the lesser of both; the model's own `max_length` is 128.
    limits = {"model_max_length": MAX_TOKENS, "max_length": MAX_TOKENS}
    AutoTokenizer.from_pretrained(model, **limits).save_pretrained(target)
    bert = AutoModel.from_pretrained(model, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        bert,
        tuple(torch.ones(2, 8, dtype=torch.long) for _ in names),
        str(target / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=dict.fromkeys((*names, "last_hidden_state"), axes),
        opset_version=17,
        dynamo=False,  # ONNX Runtime fuses attention in this exporter's graphs only
    )


def distil(model: Path, target: Path) -> None:
    """Static vectors that stay in the teacher's space: without PCA they can be compared."""
    from model2vec.distill import distill

    distill(str(model), pca_dims=None).save_pretrained(str(target))


if __name__ == "__main__":
    makers = {"fastembed": export_onnx, "model2vec": distil}
    makers[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
