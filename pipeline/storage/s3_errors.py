"""What an answer of an object store means: whether to try again, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from commonspace.pipeline.errors import StoreFailed


@dataclass(frozen=True)
class S3ErrorRule:
    """What an error means whose message matches the pattern."""

    pattern: str
    what: str
    do: str
    retry: bool = False


RULES = (
    S3ErrorRule(
        r"/latest/api/token|/latest/meta-data|no providers in chain|not find credential",
        "there are no credentials",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; profiles in ~/.aws are not read.",
    ),
    S3ErrorRule(
        r"NoSuchBucket",
        "there is no such bucket",
        "Create the bucket, or set COMMONSPACE_WAREHOUSE to another.",
    ),
    S3ErrorRule(
        r"status(?: code)?: 40[13]\b|lacked the necessary privileges|lacked valid auth",
        "the store refuses these credentials",
        "They must read, write, list and delete below this address. Check the clock, too.",
    ),
    S3ErrorRule(
        r"NotImplemented|status(?: code)?: 501\b|Could not parse path",
        "the store does not support this request",
        "ARCHITECTURE.md says what a warehouse needs of a bucket.",
    ),
    S3ErrorRule(
        r"object with invalid path",
        "an object below this address is not part of a warehouse",
        "Remove it, or set COMMONSPACE_WAREHOUSE to a prefix that holds nothing else.",
    ),
    S3ErrorRule(
        r"",
        "the store failed or did not answer",
        "Run again: finished work is kept. AWS_ENDPOINT_URL and AWS_REGION say where it is.",
        retry=True,
    ),
)
"""The first that matches decides. The patterns are those of the Rust crate object_store, which is
beneath both obstore and LanceDB."""


def store_failure(error: Exception, item: str) -> StoreFailed:
    """The StoreFailed for an error of obstore or LanceDB about the object or table `item`."""
    message = str(error).partition("\n\nDebug source")[0]
    rule = next(rule for rule in RULES if re.search(rule.pattern, message))
    what = f"{rule.what} ({_summary(message)})"
    return StoreFailed(what, item=item, retry=rule.retry, do=rule.do)


def is_store_error(error: Exception) -> bool:
    """Whether an error of LanceDB is about the bucket beneath it, not about what lies there."""
    message = str(error)
    return "Generic S3 error" in message or 'store: "S3"' in message


def _summary(message: str) -> str:
    """The store's own code and message; else the first line, without places in Rust code."""
    code = re.search(r"<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?", message, re.DOTALL)
    if code:
        return ": ".join(filter(None, code.groups()))[:200]
    line = re.sub(r", /\S+\.rs:.*| location: Location .*", "", (message.splitlines() or [""])[0])
    return line.strip()[-200:]
