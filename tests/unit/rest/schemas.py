"""Judges bodies by the OpenAPI document: the parts of JSON Schema it uses, and no member it does not name."""

from collections.abc import Mapping
from typing import Any

TYPES: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "null": type(None),
}


def faults(value: Any, schema: Mapping[str, Any], document: Mapping[str, Any], where: str = "body") -> list[str]:
    """Return what is wrong with `value`; empty for a true description."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for word in ("oneOf", "anyOf"):
        if word in schema:
            tried = [faults(value, option, document, where) for option in schema[word]]
            fitting = sum(not found for found in tried)
            if fitting == 0 or (word == "oneOf" and fitting > 1):
                return [f"{where} fits {fitting} of {word}: {tried}"]
            return []
    if "const" in schema and value != schema["const"]:
        return [f"{where} is not {schema['const']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is none of {schema['enum']}"]
    names = schema.get("type", [])
    types = tuple(TYPES[name] for name in ([names] if isinstance(names, str) else names))
    if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        return [f"{where} is no {names}"]
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        return [f"{where} is empty"]
    if isinstance(value, list):
        return [fault for item in value for fault in faults(item, schema.get("items", {}), document, f"{where}[]")]
    return _members(value, schema, document, where) if isinstance(value, dict) and "properties" in schema else []


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], document: Mapping[str, Any], where: str) -> list[str]:
    properties = schema["properties"]
    return [
        *(f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value),
        *(f"{where} has {name}, which is not described" for name in value if name not in properties),
        *(
            fault
            for name, part in value.items()
            if name in properties
            for fault in faults(part, properties[name], document, f"{where}.{name}")
        ),
    ]
