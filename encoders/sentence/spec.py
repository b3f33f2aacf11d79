"""From a sentence-transformers folder to its spec: what decides a vector, read from the files.

Nothing is executed and no tensor is read. Pickles, code in the folder, adapters, and modules or
settings whose effect this package does not reproduce are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.model_folder.digests import digest_files, pop_weights_digest
from commonspace.encoders.model_folder.json_files import read_json_object
from commonspace.encoders.model_folder.module_list import ModuleEntry, read_modules
from commonspace.encoders.reference import EncoderReference, precision_of
from commonspace.encoders.spec import TOLERANCE, EncoderSpec
from commonspace.encoders.text.validity import TEXT_RULES_VERSION

_OVERFLOWS = ("truncate", "mean", "rows")
_UNSUPPORTED = ("query_length", "document_length", "query_expansion", "processing_kwargs")


def describe_sentence(folder: Path, reference: EncoderReference) -> EncoderSpec:
    """The spec of the model in `folder`, with the options of `reference`.

    Raises:
        EncoderNotFound: the folder or one of its files is missing, or the model cannot have an
            option.
        WeightsRefused: weights are pickled, cut off or missing, the folder needs code of its own,
            or a setting has another type.
    """
    try:
        return _describe(folder, reference)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise WeightsRefused(
            f"a setting cannot be read: {error}",
            item=str(folder),
            do="Copy or download the folder's JSON files again.",
        ) from error


def _describe(folder: Path, reference: EncoderReference) -> EncoderSpec:
    modules = read_modules(folder)
    transformer = folder / modules[0].path
    settings = _transformer_settings(transformer)
    pooling = _pooling(folder, modules)
    config = read_json_object(transformer / "config.json")
    digests = digest_files(folder, modules)
    weights = pop_weights_digest(transformer, folder, digests)
    full_dim = _dim(folder, modules, pooling)
    precision = precision_of(reference)
    return EncoderSpec(
        kind="sentence-transformers",
        modality="text",
        architecture=_architecture(config),
        weights=weights,
        trained=True,
        files=digests,
        preprocessing={
            "rules": TEXT_RULES_VERSION,
            "modules": [module.kind for module in modules],
            "lower_case": bool(settings.get("do_lower_case", False)),
            "pool_prompt": pooling.get("include_prompt", True),
            "normalise": "model" if modules[-1].kind == "Normalize" else "added",
        },
        layer="last_hidden_state",
        pooling="+".join(_pooling_modes(pooling)),
        prompts=saved_prompts(folder),
        max_tokens=_max_tokens(transformer, settings, config),
        overflow=_overflow(reference),
        dim=_kept_dim(reference, config, full_dim),
        full_dim=full_dim if reference.dimensions else None,
        precision=precision,
        tolerance=TOLERANCE[precision],
    )


def _overflow(reference: EncoderReference) -> str:
    if reference.overflow not in (None, *_OVERFLOWS):
        raise EncoderNotFound(
            f"there is no overflow {reference.overflow!r}",
            item=reference.name,
            do=f"Set it to {', '.join(_OVERFLOWS[:-1])} or {_OVERFLOWS[-1]}.",
        )
    return reference.overflow or "truncate"


def _kept_dim(reference: EncoderReference, config: Mapping[str, Any], full_dim: int) -> int:
    """How many dimensions are kept: one of those the model was trained for, if it names them."""
    kept = reference.dimensions
    if kept is None:
        return full_dim
    trained_for = config.get("matryoshka_dimensions") or config.get("matryoshka_dims")
    if not 1 <= kept < full_dim or (trained_for and kept not in trained_for):
        raise EncoderNotFound(
            f"cannot keep {kept} of its {full_dim} dimensions",
            item=reference.name,
            do=f"Set `dimensions` to one of those it was trained for: {trained_for}."
            if trained_for
            else f"Set `dimensions` to 1 to {full_dim - 1}, or remove it.",
        )
    return kept


def _transformer_settings(transformer: Path) -> Mapping[str, Any]:
    if (transformer / "adapter_config.json").exists():
        raise WeightsRefused(
            "the folder holds an adapter, not a complete model",
            item=str(transformer),
            do="Merge the adapter into its base model, and save the result.",
        )
    settings = read_json_object(transformer / "sentence_bert_config.json")
    task = settings.get("transformer_task", "feature-extraction")
    unsupported = [key for key in _UNSUPPORTED if settings.get(key)]
    if task != "feature-extraction":
        unsupported.append(f"transformer_task {task}")
    if "modality_config" in settings and "text" not in settings["modality_config"]:
        unsupported.append("modality_config without text")
    if unsupported:
        raise WeightsRefused(
            f"unsupported settings: {', '.join(unsupported)}",
            item=str(transformer / "sentence_bert_config.json"),
        )
    return settings


def _pooling(folder: Path, modules: Sequence[ModuleEntry]) -> Mapping[str, Any]:
    paths = [module.path for module in modules if module.kind == "Pooling"]
    if len(paths) != 1:
        raise WeightsRefused(
            f"the model has {len(paths)} pooling modules instead of one", item=str(folder)
        )
    return read_json_object(folder / paths[0] / "config.json")


def _pooling_modes(config: Mapping[str, Any]) -> list[str]:
    """The modes in the order in which sentence-transformers concatenates them."""
    mode = config.get("pooling_mode")
    if mode is not None:
        return [mode] if isinstance(mode, str) else list(mode)
    flags = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens": "weightedmean",
        "pooling_mode_lasttoken": "lasttoken",
    }
    return [mode for flag, mode in flags.items() if config.get(flag)] or ["mean"]


def _dim(folder: Path, modules: Sequence[ModuleEntry], pooling: Mapping[str, Any]) -> int:
    dense = [module.path for module in modules if module.kind == "Dense"]
    try:
        if dense:
            return int(read_json_object(folder / dense[-1] / "config.json")["out_features"])
        width = pooling.get("embedding_dimension") or pooling["word_embedding_dimension"]
        return int(width) * len(_pooling_modes(pooling))
    except KeyError as error:
        raise WeightsRefused(f"a module's config.json has no {error}", item=str(folder)) from error


def _max_tokens(transformer: Path, settings: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """`max_seq_length`, or else the limit that sentence-transformers falls back to."""
    if settings.get("max_seq_length"):
        return int(settings["max_seq_length"])
    tokenizer = read_json_object(transformer / "tokenizer_config.json")
    limits = [tokenizer.get("model_max_length"), config.get("max_position_embeddings")]
    known = [int(limit) for limit in limits if limit and limit > 0]
    if not known or min(known) > 1_000_000:
        raise WeightsRefused(
            "the longest input of the model is not set",
            item=str(transformer),
            do="Set max_seq_length in sentence_bert_config.json.",
        )
    return min(known)


def saved_prompts(folder: Path) -> dict[str, str]:
    """Prompts by purpose, as sentence-transformers' `encode_document` and `encode_query` choose."""
    path = folder / "config_sentence_transformers.json"
    settings = read_json_object(path) if path.exists() else {}
    saved = {name: text for name, text in settings.get("prompts", {}).items() if text is not None}
    default = saved.get(settings.get("default_prompt_name"), "")
    documents = (saved[name] for name in ("document", "passage", "corpus") if name in saved)
    return {"document": next(documents, default), "query": saved.get("query", default)}


def _architecture(config: Mapping[str, Any]) -> str:
    name = str((config.get("architectures") or [config.get("model_type", "unknown")])[0])
    depth, width = config.get("num_hidden_layers"), config.get("hidden_size")
    return f"{name}-{depth}x{width}" if depth and width else name
