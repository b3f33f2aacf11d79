"""What an answer of an object store means: whether to try again, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from commonspace.pipeline.errors import StoreFailed


@dataclass(frozen=True)
class S3ErrorRule:
    """What it means that an error says something of this pattern."""

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
        "the store cannot do what was asked",
        "ARCHITECTURE.md says what a warehouse needs of a bucket.",
    ),
    S3ErrorRule(
        r"object with invalid path",
        "below this address lies an object that is not of a warehouse",
        "Remove it, or set COMMONSPACE_WAREHOUSE to a prefix that holds nothing else.",
    ),
    S3ErrorRule(
        r"",
        "the store failed or did not answer",
        "Run again: finished work is kept. AWS_ENDPOINT_URL and AWS_REGION say where it is.",
        retry=True,
    ),
)
"""The first that fits counts. Patterns are of object_store, under both obstore and LanceDB."""


def store_failure(error: Exception, item: str) -> StoreFailed:
    """The StoreFailed that an error of obstore or LanceDB amounts to."""
    said = str(error).partition("\n\nDebug source")[0]
    meaning = next(one for one in RULES if re.search(one.pattern, said))
    return StoreFailed(
        f"{meaning.what} ({_gist(said)})", item=item, retry=meaning.retry, do=meaning.do
    )


def _gist(said: str) -> str:
    """The store's own code and message, or else the error without what only developers read."""
    code = re.search(r"<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?", said, re.DOTALL)
    if code:
        return ": ".join(filter(None, code.groups()))[:200]
    line = re.sub(r", /\S+\.rs:.*| location: Location .*", "", (said.splitlines() or [""])[0])
    return line.strip()[-200:]


def is_store_error(error: Exception) -> bool:
    """Whether an error of LanceDB tells of the bucket beneath it, and not of what lies there."""
    said = str(error)
    return "Generic S3 error" in said or 'store: "S3"' in said
