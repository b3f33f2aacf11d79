"""Every key of a warehouse, and the address of its LanceDB database.

A key is a path relative to the warehouse, with `/`.
"""

from __future__ import annotations

from commonspace.pipeline.contract.name import SpaceName

RUNS = ".runs"
LANCEDB = "lancedb"


def space_folder(name: SpaceName) -> str:
    """Everything of a space but its LanceDB table."""
    return str(name)


def spec_key(name: SpaceName) -> str:
    """The contract, as first published."""
    return f"{name}/spec.json"


def canary_key(name: SpaceName) -> str:
    """The probes and their vectors, from the first release on."""
    return f"{name}/canary.parquet"


def current_key(name: SpaceName) -> str:
    """The pointer to the release that readers see."""
    return f"{name}/CURRENT"


def promotion_lock_key(name: SpaceName) -> str:
    """The lock by which one promotion of a space waits for another; never listed."""
    return f"{name}/.promotion"


def retention_lock_key(name: SpaceName) -> str:
    """The lock by which one `retain` of a space waits for another; never listed."""
    return f"{name}/.retention"


def promotion_key(name: SpaceName) -> str:
    """The announcement of a promotion that is under way, or was interrupted."""
    return f"{name}/PROMOTING"


def removal_key(name: SpaceName) -> str:
    """The announcement of what `retain` is about to remove."""
    return f"{name}/CONDEMNED"


def retirement_key(name: SpaceName) -> str:
    """The marker of a version that is not filled again, and why."""
    return f"{name}/RETIRED"


def releases_folder(name: SpaceName) -> str:
    """The manifests of all releases."""
    return f"{name}/releases"


def release_key(name: SpaceName, number: int) -> str:
    """The manifest of a release."""
    return f"{releases_folder(name)}/{number:06}.json"


def pins_folder(name: SpaceName) -> str:
    """The pins of all releases."""
    return f"{name}/pins"


def pin_key(name: SpaceName, number: int) -> str:
    """The pin of a release, and why it is kept."""
    return f"{pins_folder(name)}/{number:06}.json"


def parts_folder(name: SpaceName) -> str:
    """The Parquet parts of all releases."""
    return f"{name}/parts"


def part_key(name: SpaceName, folder: str, bucket: str, sha256: str) -> str:
    """A part, named by the checksum of its bytes; `folder` stands for its partition."""
    return f"{parts_folder(name)}/{folder}/{bucket or 'all'}-{sha256[:32]}.parquet"


def rejects_folder(name: SpaceName) -> str:
    """The rejects of all releases."""
    return f"{name}/rejects"


def rejects_key(name: SpaceName, sha256: str) -> str:
    """A file of rejects, named by the checksum of its bytes."""
    return f"{rejects_folder(name)}/{sha256[:32]}.parquet"


def table_folder(name: SpaceName) -> str:
    """The LanceDB table of a space."""
    return f"{LANCEDB}/{name.table}.lance"


def lancedb_address(warehouse: str) -> str:
    """The address of the LanceDB database in the warehouse at that address."""
    return f"{warehouse}/{LANCEDB}"


def table_address(warehouse: str, name: SpaceName) -> str:
    """The address of the LanceDB table of a space."""
    return f"{warehouse}/{table_folder(name)}"


def runs_folder(collection: str) -> str:
    """The runs of a collection, and the shards that no release holds yet."""
    return f"{RUNS}/{collection}"


def run_folder(collection: str, run: str) -> str:
    """The files that the stages of one run leave for each other."""
    return f"{runs_folder(collection)}/{run}"


def run_file_key(collection: str, run: str, name: SpaceName, file: str) -> str:
    """A file that a stage of a run leaves for the others about one space."""
    return f"{run_folder(collection, run)}/{name.folder}/{file}"


def items_folder(run_folder: str) -> str:
    """The items that a run has pulled."""
    return f"{run_folder}/items"


def passages_folder(run_folder: str, space: str = "") -> str:
    """The passages that a run has pulled, of one space (such as `blurb/v2`) or of all."""
    return f"{run_folder}/passages/{space}".rstrip("/")


def extents_key(run_folder: str) -> str:
    """How far a run has read each file of its source."""
    return f"{run_folder}/extents.parquet"


def pull_rejects_key(run_folder: str) -> str:
    """What a run could not pull; written last."""
    return f"{run_folder}/pull-rejects.parquet"


def report_suffix(name: SpaceName) -> str:
    """How the key of a report on a space ends, whatever the run."""
    return f"/{name.folder}/report.json"


def shards_folder(collection: str) -> str:
    """The finished shards of a collection that no release holds yet."""
    return f"{runs_folder(collection)}/shards"


def encoder_shards_folder(name: SpaceName, fingerprint: str) -> str:
    """The finished shards of one space by one encoder, and a canary until a release holds one."""
    return f"{shards_folder(name.collection)}/{name.folder}-{fingerprint[:16]}"


def shard_key(name: SpaceName, fingerprint: str, shard: str) -> str:
    """A finished shard, shared by every run of the same fingerprint.

    Only what would come out the same again lies here. A shard with retryable failures lies in the
    folder of its own run, and the next run tries those again.
    """
    return f"{encoder_shards_folder(name, fingerprint)}/{shard}.parquet"


def crash_log_folder(name: SpaceName, fingerprint: str) -> str:
    """The log of attempts at shards of the space, by which crashes are counted."""
    return f"{encoder_shards_folder(name, fingerprint)}/traces"


def candidate_canary_key(name: SpaceName, fingerprint: str) -> str:
    """The canary of a first run, until a release holds it."""
    return f"{encoder_shards_folder(name, fingerprint)}/canary.parquet"
