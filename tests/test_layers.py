"""Which package may import what; imports inside functions count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("encoders", "pipeline", "dags")
MODULES = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
TORCH = {"torch", "torchvision", "sentence_transformers", "transformers"}

MAY_NOT: dict[str, set[str]] = {
    "encoders": {"pipeline", "dags", "airflow", "lancedb", "pyarrow", "commonspace"},
    "pipeline": {"dags", "airflow", *TORCH},
    "dags": {"lancedb", "pyarrow", "encoders", *TORCH},
}
OF_ENCODERS = {"spec", "protocol", "errors", "reference", "catalog", "angles"}
"""All that the pipeline may know of the encoders; what computes is reached through `catalog`."""

LEVELS = [
    {"__main__"},
    {"run_commands", "read_commands", "release_commands"},
    {"command_line", "retain_spaces"},
    {"demo", "tasks", "quantise"},
    {"run"},
    {"verify", "catalogue", "stages", "report", "drop", "by_hand"},
    {"retain", "verify_indices"},
    {"promote", "restore", "spot_check"},
    {"pieces"},
    {"index_gate"},
    {"read", "rejects", "pull", "plan", "encode", "validate", "publish", "index", "golden_queries"},
    {"index_upkeep"},
    {
        "lance_rows",
        "parquet_rows",
        "query_encoder",
        "release_tables",
        "run_tables",
        "table_upkeep",
        "index_recall",
        "old_runs",
        "traces",
    },
    {
        "flight",
        "workspace",
        "collect",
        "coming",
        "samples",
        "tables",
        "lance",
        "history",
        "changes",
        "stamps",
        "vector_index",
        "text_index",
    },
    {"canary", "pins", "space_versions", "commit", "freshness"},
    {"condemned"},
    {"releases", "shards", "source", "index_files", "passages", "gates", "golden_file", "retire"},
    {"contract", "parquet", "progress", "content", "ledger", "marks", "pointer"},
    {"records", "store"},
    {"local_store", "bucket_store"},
    {"lease", "preflight"},
    {"bucket"},
    {"bucket_errors"},
    {"collection_files"},
    {"config"},
    {"errors", "memory", "versions", "periods", "run_markdown", "hold", "index_choice", "schemas"},
]
SAME_LEVEL = {("read", "rejects"), ("stages", "report"), ("publish", "collect")}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(REPOSITORY).parts[0]
    found = set(imports(path))
    forbidden = {name for name in found if name.split(".")[0] in MAY_NOT[package]}
    assert not forbidden
    if package == "pipeline":
        known = {name.split(".")[1] for name in found if name.startswith("encoders.")}
        assert known <= OF_ENCODERS


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "pipeline").glob("*.py")), ids=lambda p: p.name
)
def test_the_pipeline_is_a_line(path: Path) -> None:
    """A module imports only from levels below its own."""
    if path.stem == "__init__":
        return
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    assert path.stem in level, f"{path.name} has no level: give it one in LEVELS"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "pipeline" or len(parts) < 2 or parts[1] not in level:
            continue
        pair = (path.stem, parts[1])
        assert level[pair[1]] > level[pair[0]] or pair in SAME_LEVEL, f"{pair[0]} imports {pair[1]}"
