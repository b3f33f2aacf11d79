"""Structs of Thrift's compact protocol, as far as Parquet uses it.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

Fields = dict[int, Any]
"""Integers, byte strings, lists and structs, by the number of the field; no other is kept."""


class ThriftReader:
    """Reads a struct; IndexError where its bytes end too early, ValueError where it is none."""

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def read_struct(self) -> Fields:
        """The fields of the struct that begins here."""
        fields, number = Fields(), 0
        while header := self._byte():
            delta, kind = header >> 4, header & 15
            number = number + delta if delta else self._integer()
            fields[number] = self._value(kind)
        return fields

    def _value(self, kind: int, *, is_element: bool = False) -> Any:
        match kind:
            case 1 | 2:  # a boolean is in its field's header, but for an element
                self._bytes(int(is_element))
            case 3:
                self._bytes(1)
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                self._bytes(8)
            case 8:
                return self._bytes(self._varint())
            case 9 | 10:
                header = self._byte()
                count = header >> 4 if header >> 4 < 15 else self._varint()
                return [self._value(header & 15, is_element=True) for _ in range(count)]
            case 12:
                return self.read_struct()
            case _:
                raise ValueError(kind)
        return None

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _bytes(self, size: int) -> bytes:
        start = self.position
        self.position += size
        if self.position > len(self._data):
            raise IndexError(self.position)
        return self._data[start : self.position]

    def _varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError(self.position)

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
