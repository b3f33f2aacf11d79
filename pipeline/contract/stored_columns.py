"""The columns that a file or table holds: checked against a contract, and read in its columns.

The metadata columns of a space may change from release to release, and commonspace itself may add
a column that says how rows were made. Files and tables of earlier times stay as they were written.
Each carries the contract that it was written under, which explains the columns that it has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from commonspace.encoders.spec import differences
from commonspace.pipeline.contract.columns import provenance_fields
from commonspace.pipeline.contract.contract import METADATA_KEY, Contract
from commonspace.pipeline.contract.documents import DAMAGE, check_types, damage
from commonspace.pipeline.errors import ContractBroken


def check_schema(schema: pa.Schema, contract: Contract, where: str) -> None:
    """Refuse a file or table of another contract, or with other columns than its own explains.

    Metadata columns may be others than those of the contract; a column of provenance may be
    missing.

    Args:
        schema: the schema of the file or table, the contract in its metadata.
        contract: the contract of the space.
        where: the file or table, for the message.

    Raises:
        ContractBroken: they differ; the message names every difference.
    """
    carried = _carried_contract(schema)
    faults = carried if isinstance(carried, list) else _faults(schema, contract, carried)
    if faults:
        raise ContractBroken(
            "differs from the contract:\n  " + "\n  ".join(faults),
            item=where,
            do=f"Something other than commonspace wrote to {contract.space}. "
            "`commonspace verify` lists what is damaged.",
        )


def in_columns_of(
    contract: Contract, table: pa.Table, columns: Sequence[str] | None = None
) -> pa.Table:
    """Stored rows in the columns of a contract: in all of them, or in some.

    A column that the table may lack (`Contract.optional_columns`) is null where it does, or where
    it had another type before it was dropped and declared anew.

    Raises:
        KeyError: the table lacks another column.
    """
    for name in contract.optional_columns.intersection(columns or contract.schema.names):
        field = contract.schema.field(name)
        if type_name(table.schema, name) != str(field.type):
            table = table.drop([name]) if name in table.column_names else table
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(contract.schema.names if columns is None else list(columns))


def has_columns_of(contract: Contract, schema: pa.Schema) -> bool:
    """Whether a file or table has the contract's metadata columns, and no others."""
    columns = {name: type_name(schema, name) for name in schema.names}
    expected = {name: type_name(contract.schema, name) for name in contract.schema.names}
    absent = expected.keys() - columns.keys()
    provenance = {field.name for field in provenance_fields(contract.spec)}
    return absent <= provenance and columns.items() <= expected.items()


def type_name(schema: pa.Schema, name: str) -> str:
    """The type of a column; Arrow and LanceDB call the numbers of a vector by different names."""
    index = schema.get_field_index(name)
    return "nothing" if index < 0 else str(schema.field(index).type).replace("element", "item")


def _carried_contract(schema: pa.Schema) -> Contract | list[str]:
    """The contract that a file or table carries, or why there is none."""
    document = (schema.metadata or {}).get(METADATA_KEY)
    if document is None:
        return ["it carries no contract"]
    try:
        contract = Contract.from_json(json.loads(document))
        check_types(contract)
    except DAMAGE as error:
        return [f"the contract it carries is damaged: {damage(error)}"]
    return contract


def _faults(schema: pa.Schema, contract: Contract, carried: Contract) -> list[str]:
    faults = [] if carried.space == contract.space else [f"it belongs to {carried.space}"]
    faults += [str(difference) for difference in differences(contract.spec, carried.spec)]
    expected = carried.schema
    provenance = {field.name for field in provenance_fields(carried.spec)}
    return [
        *(
            f"column {name}: expected {type_name(expected, name)}, found {type_name(schema, name)}"
            for name in dict.fromkeys([*expected.names, *schema.names])
            if type_name(expected, name) != type_name(schema, name)
            and (name in schema.names or name not in provenance)
        ),
        *faults,
    ]
