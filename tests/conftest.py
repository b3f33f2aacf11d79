from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import REPOSITORY

BUCKET = "warehouses"
if "COMMONSPACE_CACHE" not in os.environ:  # the user's own is left alone; workers share this one
    os.environ["COMMONSPACE_CACHE"] = tempfile.mkdtemp(prefix="commonspace-tests-")
    atexit.register(shutil.rmtree, os.environ["COMMONSPACE_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; tests that need it skip where it is absent."""
    repository = REPOSITORY
    path = repository / os.environ.get("COMMONSPACE_SHARED", "../shared")
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}; set COMMONSPACE_SHARED")
    return path.resolve()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3-compatible store that lives as long as the session.

    It lists a hundred keys at a time, a tenth of what real ones do.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.s3_server", BUCKET], text=True,
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "100"},
    ) as server:  # fmt: skip
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a fresh warehouse in a bucket, which the environment gives access to."""
    given = {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": "secret-of-the-tests",
             "ENDPOINT_URL": s3_server, "ALLOW_HTTP": "true", "REGION": "us-east-1"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model of random weights as sentence-transformers saves it: images of 32 pixels.

    Its tokenizer knows single characters only.
    """
    transformers = pytest.importorskip("transformers")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    import torch
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 4}  # fmt: skip
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    config = transformers.CLIPConfig(
        text_config={**tower, **ends, "vocab_size": len(words)},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=32,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    plain, saved = str(folder / "plain"), folder / "saved"
    transformers.CLIPModel(config).save_pretrained(plain)
    transformers.CLIPProcessor(processor, tokenizer).save_pretrained(plain)
    sentence_transformers.SentenceTransformer(plain, device="cpu").save(str(saved))
    return saved
