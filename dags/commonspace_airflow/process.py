"""What a task does: execute one `commonspace` command in a fresh process.

Airflow forks a process for every task. Torch, tokenizers and LanceDB do not survive a fork once
they have computed anything, so the forked process computes nothing: the command is started by
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
from commonspace_airflow.environment import COLLECTIONS_FOLDER, bucket_access

Answer = dict[str, Any]
"""What a stage answers: counts and numbers, never rows."""

log = logging.getLogger("commonspace")

CRASH_CODES = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL}
"""Exit codes of processes that crashed, rather than being asked to stop."""

STOP_SECONDS = 3.0
"""How long a stage may take to stop when it is asked to: Airflow kills its task after five."""

CRASH_RESTARTS = 4
"""How often an encode that crashes is started again within one try of its task: enough to find one
item that crashes it. A model too large for the machine crashes as often, before any item."""


class StageFailed(Exception):
    """A command failed, and may succeed when it is tried again."""


def pipeline_run_id(context: Mapping[str, Any]) -> str:
    """The id of the run: the same for every task and retry of a DAG run, sortable by time."""
    dag_run = context["dag_run"]
    digest = hashlib.sha256(f"{dag_run.dag_id} {dag_run.run_id}".encode()).hexdigest()
    return f"{dag_run.run_after:%Y%m%dT%H%M%S}-{digest[:6]}"


def run_stage(stage: str, collection: str, run_id: str, *options: str) -> Answer:
    """Execute a stage of a run and return its answer.

    An encoding process that crashes has noted what it was encoding, and the next process encodes
    less at a time. It is started again here, so that a crash costs no try of the task.

    Raises:
        AirflowFailException: trying again cannot help.
        StageFailed: trying again may help.
    """
    restarts = CRASH_RESTARTS if stage == "encode" else 0
    return dict(run_verb("stage", stage, collection, "--run", run_id, *options, restarts=restarts))


def run_verb(*arguments: str, restarts: int = 0) -> Any:
    """Execute `commonspace …` and return the JSON document that it prints.

    What went wrong is the first line that is logged as an error.

    Args:
        arguments: the verb, its arguments and options.
        restarts: how often the command is started again when it crashes.

    Raises:
        AirflowFailException: trying again cannot help.
        StageFailed: trying again may help.
    """
    code, output = _execute(arguments)
    for restart in range(restarts):
        if code not in CRASH_CODES:
            break
        message = (
            "encoding crashed with %s; starting it again (start %d), with fewer items at a time"
        )
        log.warning(message, _describe_exit(code), restart + 2)
        code, output = _execute(arguments)
    document = _last_document(output)
    error = document if isinstance(document, dict) and "what" in document else {}
    if document is not None and not error and code in (0, 1):  # 1: `verify` found something wrong
        return document
    default = f"commonspace {arguments[0]} ended with {_describe_exit(code)}"
    message = _error_message(error) if error else default
    log.error(message)
    raise (StageFailed if error.get("retry", True) else AirflowFailException)(message)


@contextmanager
def failing_on_mistakes() -> Iterator[None]:
    """Fails the task at once on a mistake in what was asked: trying again asks the same."""
    try:
        yield
    except UserMistake as error:
        log.error(str(error))  # noqa: TRY400 - a person reads it
        raise AirflowFailException(str(error)) from error


def _execute(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code and the standard output of `commonspace …`, in a process of its own."""
    command = [sys.executable, "-m", "commonspace", *arguments, "--json"]
    environment = {
        **os.environ,
        **bucket_access(os.environ),
        "COMMONSPACE_COLLECTIONS": str(COLLECTIONS_FOLDER),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
    }
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
        reader = Thread(target=_log_lines, args=(child.stderr,), daemon=True)
        reader.start()
        try:
            output = child.stdout.read()
            code = child.wait()
        except BaseException:  # Airflow stops a task by a signal: its stage must stop, too
            _stop(child)
            raise
        reader.join()
    return code, output


def _stop(child: subprocess.Popen[str]) -> None:
    """Ask a stage to stop, then kill it: nobody would stop it once this process is killed."""
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _log_lines(stream: IO[str]) -> None:
    """Log the child's messages as such; Airflow would log its standard error as errors."""
    for line in stream:
        log.info(line.rstrip())


def _last_document(text: str) -> Any:
    lines = text.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return None


def _error_message(error: Mapping[str, Any]) -> str:
    item = f"{error['item']}: " if error.get("item") else ""
    advice = f"\n  {error['do']}" if error.get("do") else ""
    return f"{item}{error['what']}{advice}"


def _describe_exit(code: int) -> str:
    """How a process ended that printed no answer."""
    if code == -signal.SIGKILL:
        return "SIGKILL: the machine ran out of memory, or somebody killed it"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
