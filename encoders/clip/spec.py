"""From the folder of a CLIP model to its specs: images and texts in one space.

One folder has two specs. `modality="image"` embeds images that texts find, `modality="text"`
the reverse; what embeds a query decides a vector too, so both name every file. Nothing is
executed and no tensor is read.

| the folder                                                           | outcome        |
|----------------------------------------------------------------------|----------------|
| `modules.json` with a CLIPModel, as clip-ViT-B-32 on the hub has it  | served         |
| `modules.json` with a Transformer whose modalities are text, image   | served         |
| no `modules.json`, a `config.json` of model_type `clip`              | served         |
| any of them with a Normalize behind it                               | the same space |
| another module behind it, another model_type, an adapter, a pickle   | refused        |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.encoders.clip.image_settings import read_image_settings
from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.image.image_file import IMAGE_RULES_VERSION
from commonspace.encoders.model_folder.digests import digest_files, pop_weights_digest
from commonspace.encoders.model_folder.json_files import read_json_object
from commonspace.encoders.model_folder.module_list import ModuleEntry, read_modules
from commonspace.encoders.sentence.spec import TEXT_RULES_VERSION, saved_prompts
from commonspace.encoders.spec import EncoderSpec, Modality

_OTHER: Mapping[Modality, Modality] = {"text": "image", "image": "text"}
_POOLING: Mapping[Modality, str] = {"text": "end-of-text", "image": "class"}
_METHODS = {"text": "get_text_features", "image": "get_image_features"}
_DEFAULT_DIM, _DEFAULT_IMAGE_SIZE, _DEFAULT_TOKENS = 512, 224, 77
"""What transformers' CLIPConfig has where `config.json` says nothing."""


def is_clip_folder(folder: Path) -> bool:
    """Whether the folder's first module, or the folder itself, says it is a CLIP model.

    Raises:
        WeightsRefused: its files are no JSON, or its modules are not to be trusted.
    """
    if not (folder / "modules.json").exists():
        return _model_type(folder) == "clip"
    head = read_modules(folder)[0]
    return head.kind == "CLIPModel" or _model_type(folder / head.path) == "clip"


def network_folder(folder: Path) -> Path:
    """Where in the folder the network and its tokenizer lie."""
    return folder / _modules(folder)[0].path


def describe_clip(folder: Path, modality: Modality) -> EncoderSpec:
    """The spec of the space of images, or of texts, that the model in `folder` makes.

    Raises:
        EncoderNotFound: the folder or one of its files is missing.
        WeightsRefused: weights are pickled, cut off or missing, or settings not supported.
    """
    modules = _modules(folder)
    model = folder / modules[0].path
    config = read_json_object(model / "config.json")
    _require_clip(model, config)
    settings = _settings(model, modules[0])
    text, vision = _half(config, "text"), _half(config, "vision")
    digests = digest_files(folder, modules)
    weights = pop_weights_digest(model, folder, digests)
    return EncoderSpec(
        kind="clip",
        modality=modality,
        architecture=f"CLIPModel-{_shape(vision)}+{_shape(text)}",
        weights=weights,
        trained=True,
        files=digests,
        preprocessing={
            "text_rules": TEXT_RULES_VERSION,
            "image_rules": IMAGE_RULES_VERSION,
            **read_image_settings(model, vision.get("image_size", _DEFAULT_IMAGE_SIZE)),
        },
        layer="projection",
        pooling=_POOLING[modality],
        prompts=saved_prompts(folder),
        max_tokens=_max_tokens(model, settings, text),
        overflow="truncate",
        dim=int(config.get("projection_dim", _DEFAULT_DIM)),
        queries=(_OTHER[modality],),
    )


def _modules(folder: Path) -> list[ModuleEntry]:
    if not (folder / "modules.json").exists():
        return [ModuleEntry("CLIPModel", ".")]
    modules = read_modules(folder)
    behind = [module.kind for module in modules[1:] if module.kind != "Normalize"]
    if behind:
        raise WeightsRefused(
            f"a {behind[0]} behind a CLIP model is not supported", item=str(folder / "modules.json")
        )
    return modules


def _model_type(place: Path) -> str:
    path = place / "config.json"
    return str(read_json_object(path).get("model_type")) if path.exists() else ""


def _require_clip(model: Path, config: Mapping[str, Any]) -> None:
    if config.get("model_type") != "clip":
        raise WeightsRefused(
            f"a module of images whose model_type is {config.get('model_type')!r} is not "
            "supported: only 'clip' is",
            item=str(model / "config.json"),
        )
    if (model / "adapter_config.json").exists():
        raise WeightsRefused(
            "an adapter, not a whole model",
            item=str(model),
            do="Merge the adapter into its base model and save that.",
        )


def _settings(model: Path, head: ModuleEntry) -> Mapping[str, Any]:
    """What sentence-transformers keeps beside the network; nothing in the older layout."""
    path = model / "sentence_bert_config.json"
    if not path.exists() and head.kind == "CLIPModel":
        return {}
    settings = read_json_object(path)
    unknown = [key for key in ("do_lower_case", "processing_kwargs") if settings.get(key)]
    if settings.get("transformer_task", "feature-extraction") != "feature-extraction":
        unknown.append(f"transformer_task {settings['transformer_task']}")
    if head.kind == "Transformer" or "modality_config" in settings:
        ways = settings.get("modality_config", {})
        unknown += [
            f"modality_config without {method}"
            for modality, method in _METHODS.items()
            if ways.get(modality, {}).get("method") != method
            or ways[modality].get("method_output_name") not in ("pooler_output", None)
        ]
    if unknown:
        raise WeightsRefused(f"unsupported settings: {', '.join(unknown)}", item=str(path))
    return settings


def _half(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One tower's settings; older folders have them twice, and the second set counts."""
    return {**(config.get(f"{name}_config") or {}), **(config.get(f"{name}_config_dict") or {})}


def _shape(half: Mapping[str, Any]) -> str:
    return f"{half.get('num_hidden_layers', 12)}x{half.get('hidden_size', 'default')}"


def _max_tokens(model: Path, settings: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    """The tokenizer's limit, which `max_seq_length` replaces, within the model's positions."""
    tokenizer = read_json_object(model / "tokenizer_config.json")
    limit = settings.get("max_seq_length") or tokenizer.get("model_max_length")
    positions = int(text.get("max_position_embeddings", _DEFAULT_TOKENS))
    return min(int(limit), positions) if limit else positions
