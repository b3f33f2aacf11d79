"""From the folder of a CLIP model to its specs: images and texts in one space.

One folder has two specs. With `modality="image"` documents are images, which texts find, with
`modality="text"` the reverse; the other tower embeds queries, so both specs name every file.
Nothing is executed and no tensor is read.

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
from commonspace.encoders.sentence.spec import saved_prompts
from commonspace.encoders.spec import EncoderSpec, Modality
from commonspace.encoders.text.validity import TEXT_RULES_VERSION

_OTHER: Mapping[Modality, Modality] = {"text": "image", "image": "text"}
_POOLING: Mapping[Modality, str] = {"text": "end-of-text", "image": "class"}
_METHODS = {"text": "get_text_features", "image": "get_image_features"}
_DEFAULT_DIM, _DEFAULT_IMAGE_SIZE, _DEFAULT_TOKENS = 512, 224, 77
"""The defaults of transformers' CLIPConfig."""


def network_folder(folder: Path) -> Path:
    """The folder of the network and its tokenizer, inside the model's."""
    return folder / _modules(folder)[0].path


def describe_clip(folder: Path, modality: Modality) -> EncoderSpec:
    """The spec of the model in `folder` as an encoder of images, or of texts.

    Raises:
        EncoderNotFound: the folder or one of its files is missing.
        WeightsRefused: weights are pickled, cut off or missing, or a setting is not supported.
    """
    modules = _modules(folder)
    model = folder / modules[0].path
    config = read_json_object(model / "config.json")
    _require_clip(model, config)
    settings = _settings(model, modules[0])
    text, vision = _tower_config(config, "text"), _tower_config(config, "vision")
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
    further = [module.kind for module in modules[1:] if module.kind != "Normalize"]
    if further:
        raise WeightsRefused(
            f"a {further[0]} module after a CLIP model is not supported",
            item=str(folder / "modules.json"),
        )
    return modules


def _require_clip(model: Path, config: Mapping[str, Any]) -> None:
    if config.get("model_type") != "clip":
        raise WeightsRefused(
            f"a model of images with model_type {config.get('model_type')!r} is not supported; "
            "'clip' is",
            item=str(model / "config.json"),
        )
    if (model / "adapter_config.json").exists():
        raise WeightsRefused(
            "the folder holds an adapter, not a complete model",
            item=str(model),
            do="Merge the adapter into its base model, and save the result.",
        )


def _settings(model: Path, head: ModuleEntry) -> Mapping[str, Any]:
    """Sentence-transformers' settings beside the network; the older layout has none."""
    path = model / "sentence_bert_config.json"
    if not path.exists() and head.kind == "CLIPModel":
        return {}
    settings = read_json_object(path)
    unsupported = [key for key in ("do_lower_case", "processing_kwargs") if settings.get(key)]
    if settings.get("transformer_task", "feature-extraction") != "feature-extraction":
        unsupported.append(f"transformer_task {settings['transformer_task']}")
    if head.kind == "Transformer" or "modality_config" in settings:
        by_modality = settings.get("modality_config", {})
        unsupported += [
            f"modality_config without {method}"
            for modality, method in _METHODS.items()
            if by_modality.get(modality, {}).get("method") != method
            or by_modality[modality].get("method_output_name") not in ("pooler_output", None)
        ]
    if unsupported:
        raise WeightsRefused(f"unsupported settings: {', '.join(unsupported)}", item=str(path))
    return settings


def _tower_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One tower's settings; older folders have them twice, and the second ones count."""
    return {**(config.get(f"{name}_config") or {}), **(config.get(f"{name}_config_dict") or {})}


def _shape(tower: Mapping[str, Any]) -> str:
    return f"{tower.get('num_hidden_layers', 12)}x{tower.get('hidden_size', 'default')}"


def _max_tokens(model: Path, settings: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    """The tokenizer's limit, which `max_seq_length` replaces, within the model's positions."""
    tokenizer = read_json_object(model / "tokenizer_config.json")
    limit = settings.get("max_seq_length") or tokenizer.get("model_max_length")
    positions = int(text.get("max_position_embeddings", _DEFAULT_TOKENS))
    return min(int(limit), positions) if limit else positions
