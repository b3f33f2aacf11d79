"""A task of a DAG: one stage of a run, executed by a fresh `commonspace` process.

Airflow forks a process for every task. Torch, tokenizers and LanceDB do not survive a fork
once they have computed, so a stage never computes in the forked process: it is started by
exec, and the same command can be typed by an operator.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from threading import Thread
from typing import IO, Any

from airflow.sdk.exceptions import AirflowFailException

Answer = dict[str, Any]
"""A stage's answer: counts and numbers."""

log = logging.getLogger("commonspace")


class StageFailed(Exception):
    """A stage failed in a way that trying again can mend."""


def run_id_of(context: Mapping[str, Any]) -> str:
    """The run's id: the same for every task and retry of a DAG run, sortable by time."""
    dag_run = context["dag_run"]
    digest = hashlib.sha256(f"{dag_run.dag_id} {dag_run.run_id}".encode()).hexdigest()
    return f"{dag_run.run_after:%Y%m%dT%H%M%S}-{digest[:6]}"


def run_stage(stage: str, collection: str, run_id: str, *options: str) -> Answer:
    """Execute a stage and return its answer.

    Raises AirflowFailException where trying again cannot help, StageFailed where it can.
    """
    command = [sys.executable, "-m", "pipeline", "stage", stage, collection]
    command += ["--run", run_id, "--json", *options]
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
        reader = Thread(target=_relay, args=(child.stderr,), daemon=True)
        reader.start()
        try:
            answer = child.stdout.read()
            code = child.wait()
        except BaseException:  # Airflow stops a task by a signal: its stage must stop too
            child.terminate()
            raise
        reader.join()
    value = _last_document(answer)
    if code == 0 and value is not None:
        return value
    if value is not None and not value.get("retry", True):
        raise AirflowFailException(_sentence(value))
    raise StageFailed(_sentence(value) if value else f"the stage ended with exit code {code}")


def _relay(stream: IO[str]) -> None:
    """The child's messages as log lines; Airflow would log its standard error as errors."""
    for line in stream:
        log.info(line.rstrip())


def _last_document(text: str) -> Answer | None:
    lines = text.strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _sentence(value: Mapping[str, Any]) -> str:
    item = f"{value['item']}: " if value.get("item") else ""
    return f"{item}{value.get('what')} {value.get('do') or ''}".strip()
