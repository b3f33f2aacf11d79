"""A task of a DAG: one `commonspace` command, executed by a fresh process.

Airflow forks a process for every task. Torch, tokenizers and LanceDB do not survive a fork
once they have computed, so nothing computes in the forked process: the command is started by
exec, and an operator can type the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import IO, Any

from airflow.sdk.exceptions import AirflowFailException

from commonspace.pipeline.errors import UserMistake
from commonspace_airflow.environment import FOLDER, access

Answer = dict[str, Any]
"""A stage's answer: counts and numbers."""

log = logging.getLogger("commonspace")

DEATHS = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL}
"""Exit codes of processes that died of what they did; others were asked to end."""

GRACE = 3.0
"""Seconds that a stage has to end when it is asked to: Airflow kills its task after five."""

RESTARTS = 4
"""How often an encode that dies is started again within one try of its task: enough for one item
that kills. A model too large for the machine dies as often, and leaves no trace."""


class StageFailed(Exception):
    """A command failed in a way that trying again can mend."""


def run_id_of(context: Mapping[str, Any]) -> str:
    """The run's id: the same for every task and retry of a DAG run, sortable by time."""
    dag_run = context["dag_run"]
    digest = hashlib.sha256(f"{dag_run.dag_id} {dag_run.run_id}".encode()).hexdigest()
    return f"{dag_run.run_after:%Y%m%dT%H%M%S}-{digest[:6]}"


def run_stage(stage: str, collection: str, run_id: str, *options: str) -> Answer:
    """Execute a stage of a run and return its answer.

    A process that dies of what it encodes leaves a trace of that, and the next one does less at
    once: it is started here, so that a shard costs no try of the task. Raises as `run_verb`.
    """
    restarts = RESTARTS if stage == "encode" else 0
    return dict(run_verb("stage", stage, collection, "--run", run_id, *options, restarts=restarts))


def run_verb(*arguments: str, restarts: int = 0) -> Any:
    """Execute `commonspace …` and return its JSON document, of `verify` also what it found wrong.

    restarts: how often it is started again where it dies of a signal.
    Raises AirflowFailException where trying again cannot help, StageFailed where it can; what
    went wrong is the log's first line at the level of errors.
    """
    code, answer = _execute(arguments)
    for restart in range(restarts):
        if code not in DEATHS:
            break
        said = "encoding ended with %s; start %d follows, which does less at once"
        log.warning(said, _ending(code), restart + 2)
        code, answer = _execute(arguments)
    value = _last_document(answer)
    told = value if isinstance(value, dict) and "what" in value else {}
    if value is not None and not told and code in (0, 1):
        return value
    sentence = _sentence(told) if told else f"commonspace {arguments[0]} ended with {_ending(code)}"
    log.error(sentence)
    raise (StageFailed if told.get("retry", True) else AirflowFailException)(sentence)


def _execute(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code and the standard output of `commonspace …`, in a process of its own."""
    command = [sys.executable, "-m", "commonspace", *arguments, "--json"]
    environment = {
        **os.environ,
        **access(os.environ),
        "COMMONSPACE_COLLECTIONS": str(FOLDER),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
    }
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
            _end(child)
            raise
        reader.join()
    return code, answer


def _end(child: subprocess.Popen[str]) -> None:
    """Ask a stage to end, and make it: nobody would stop it once this process is killed."""
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


@contextmanager
def refusing() -> Iterator[None]:
    """What is wrong with what was asked ends the task at once: trying again asks the same."""
    try:
        yield
    except UserMistake as error:
        log.error(str(error))  # noqa: TRY400 - a person reads it
        raise AirflowFailException(str(error)) from error


def _relay(stream: IO[str]) -> None:
    """The child's messages as log lines; Airflow would log its standard error as errors."""
    for line in stream:
        log.info(line.rstrip())


def _last_document(text: str) -> Any:
    lines = text.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return None


def _sentence(value: Mapping[str, Any]) -> str:
    item = f"{value['item']}: " if value.get("item") else ""
    advice = f"\n  {value['do']}" if value.get("do") else ""
    return f"{item}{value['what']}{advice}"


def _ending(code: int) -> str:
    """How a process ended that left no answer."""
    if code == -signal.SIGKILL:
        return "SIGKILL: the machine ran out of memory, or somebody stopped it"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
