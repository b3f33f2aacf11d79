"""What deploys it elsewhere: no Docker and no cluster is here, so the files are read, not run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkout import REPOSITORY

INFRA = REPOSITORY / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
VALUES = yaml.safe_load((INFRA / "helm/values.yaml").read_text())
LOCK = (INFRA.parent / "requirements.lock").read_text()
SECRET = re.compile(r"PASSWORD|SECRET|_KEY|CONN|BROKER|RESULT_BACKEND", re.IGNORECASE)
OURS = re.compile(r"commonspace-[a-z-]+:\d+\.\d+\.\d+")
VERSION = re.compile(
    r"[a-z0-9/]+:(RELEASE\.[0-9TZ-]+|\d+\.\d+\.\d+[a-z0-9.-]*|\d+\.\d+[a-z0-9.-]*)"
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def environments() -> list[dict[str, str]]:
    return [service.get("environment", {}) for service in COMPOSE["services"].values()]


def test_every_part_is_there() -> None:
    assert set(COMPOSE["services"]) == {
        "postgres", "redis", "s3", "bucket", "init", "api-server", "scheduler", "dag-processor",
        "triggerer", "worker", "worker-gpu",
    }  # fmt: skip
    assert [s["name"] for s in VALUES["workers"]["celery"]["sets"]] == ["gpu"]
    assert VALUES["workers"]["celery"]["sets"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_what_runs_on_is_healthy_or_done() -> None:
    for name, service in COMPOSE["services"].items():
        if name not in ("init", "bucket"):
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_every_image_is_pinned() -> None:
    named = [service["image"] for service in COMPOSE["services"].values()]
    files = sorted(INFRA.glob("docker/Dockerfile.*"))
    assert len(files) == 2
    stages = {"build", "runtime", "python"}
    for file in files:
        froms = re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
        named += [image for image in froms if image not in stages]
    assert len(named) > 10
    assert not [n for n in named if not OURS.fullmatch(n) and not VERSION.fullmatch(n)]


def test_no_secret_has_a_default() -> None:
    secrets = [
        (name, value)
        for environment in environments()
        for name, value in environment.items()
        if SECRET.search(name) and not name.endswith("PASSWORDS_FILE")
    ]
    assert len({name for name, _ in secrets}) >= 10
    assert not [
        name for name, value in secrets if not re.search(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value)
    ]
    text = (INFRA / "compose.yaml").read_text()
    assert not re.findall(r"\$\{[A-Z0-9_]+(?:\}|:?-)", text), "a variable may be missing unnoticed"
    for path, value in leaves(VALUES):
        if SECRET.search(path) and "secret" in path.lower():
            assert re.fullmatch(r"airflow-[a-z-]+", str(value)), f"{path} is no secret's name"


def test_nothing_runs_as_root_or_is_open_to_the_network() -> None:
    for file in INFRA.glob("docker/Dockerfile.*"):
        users = re.findall(r"^USER (\S+)", file.read_text(), re.MULTILINE)
        assert users == ["50000"], file.name
    for name, service in COMPOSE["services"].items():
        assert all(str(p).startswith("127.0.0.1:") for p in service.get("ports", [])), name
    assert VALUES["securityContexts"]["pod"]["runAsNonRoot"] is True


def test_only_workers_know_the_keys_of_the_warehouse() -> None:
    knowing = {n for n, s in COMPOSE["services"].items() if "AWS_ACCESS_KEY_ID" in s["environment"]}
    assert knowing == {"worker", "worker-gpu"}


def test_every_setting_of_airflow_exists(tmp_path: Path) -> None:
    names = {name for environment in environments() for name in environment}
    names |= {name for path, _ in leaves(VALUES) for name in path.split("/")}
    names |= {str(value) for path, value in leaves(VALUES) if path.endswith("/name")}
    found = [n.lower().split("__")[1:] for n in names if n.startswith("AIRFLOW__")]
    found += [[s, k] for s, keys in VALUES["config"].items() for k in keys]
    assert len(found) >= 15
    code = f"""if True:
        import json
        from airflow.configuration import conf
        from airflow.providers_manager import ProvidersManager
        known = dict(conf.configuration_description)
        for _, provided in ProvidersManager().provider_configs:
            known.update(provided)
        unknown = [[s, k] for s, k in {found!r} if k not in known.get(s, {{}}).get("options", {{}})]
        print(json.dumps(unknown))
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**environment, "AIRFLOW_HOME": str(tmp_path)},
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("image", ["control", "worker"])
def test_images_are_built_from_the_lock(image: str) -> None:
    pins = pinned((INFRA / f"docker/{image}.lock").read_text())
    assert "apache-airflow" in pins
    assert ("torch" in pins) == (image == "worker"), "who encodes has torch, nobody else"
    everything = pinned(LOCK)
    assert {name: everything.get(name) for name in pins} == pins
    for file in INFRA.glob("docker/Dockerfile.*"):
        assert re.findall(r"uv==(\S+)", file.read_text()) == [everything["uv"]]


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_what_an_image_copies_makes_the_whole_wheel(image: str, tmp_path: Path) -> None:
    """COPY keeps links, as is done here; the wheel follows them."""
    lines = (INFRA / f"docker/Dockerfile.{image}").read_text().splitlines()
    sources: set[str] = set()
    for line in lines:
        words = line.split()
        if words[:1] == ["COPY"] and words[-1].startswith("/src/"):
            sources |= set(words[1:-1])
    for name in sources:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, tmp_path / name, symlinks=True)
        else:
            shutil.copy(REPOSITORY / name, tmp_path / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = (tmp_path / "built").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("pipeline", "encoders"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            assert f"commonspace/{path.relative_to(REPOSITORY).as_posix()}" in names


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock, re.MULTILINE))


def test_the_bucket_policy_allows_what_is_used_and_no_more() -> None:
    statements = json.loads((INFRA / "bucket-policy.json").read_text())["Statement"]
    actions = {action for statement in statements for action in statement["Action"]}
    assert actions == {
        "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
        "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    }  # fmt: skip
