#!/usr/bin/env python3
"""Writes changes.tsv: every version at which the signature of a standard operator changed, beyond the types it takes.

    python changes.py > changes.tsv        (needs onnx 1.23.2)

Columns: domain, operator, version, changes: `+x` a new attribute with its default, `-x` one that is gone, `x: a -> b` a
new default, `inputs a -> b` and `outputs a -> b` with `!` for a required one, `?` for an optional, `*` for any number.
"""
from onnx import defs, helper

MARKS = {"Single": "!", "Optional": "?", "Variadic": "*"}


def marks(formals):
    return "".join(MARKS[formal.option.name] for formal in formals)


def default(attribute):
    if not attribute.default_value.name:
        return "required" if attribute.required else "none"
    value = helper.get_attribute_value(attribute.default_value)
    return value.decode() if isinstance(value, bytes) else f"{value:g}" if isinstance(value, float) else str(value)


def changes(old, new):
    for name in sorted({*old.attributes} | {*new.attributes}):
        if name not in new.attributes:
            yield f"-{name}"
        elif name not in old.attributes:
            yield f"+{name}={default(new.attributes[name])}"
        elif default(old.attributes[name]) != default(new.attributes[name]):
            yield f"{name}: {default(old.attributes[name])} -> {default(new.attributes[name])}"
    for what in ("inputs", "outputs"):
        a, b = marks(getattr(old, what)), marks(getattr(new, what))
        if a != b:
            yield f"{what} {a} -> {b}"
    if new.deprecated:
        yield "deprecated"


versions = {}
for schema in defs.get_all_schemas_with_history():
    if schema.domain in ("", "ai.onnx.ml"):
        versions.setdefault((schema.domain, schema.name), []).append(schema)
for (domain, name), schemas in sorted(versions.items()):
    schemas.sort(key=lambda s: s.since_version)
    for old, new in zip(schemas, schemas[1:]):
        if found := list(changes(old, new)):
            print(domain, name, new.since_version, "; ".join(found), sep="\t")
