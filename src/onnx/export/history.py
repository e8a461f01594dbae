#!/usr/bin/env python3
"""Writes history.tsv: the form of every operator of ONNX's own domain at each opset from 17 on.

    python history.py > history.tsv        (needs onnx 1.23.2)

Columns: operator, the opset that brought the form, most inputs (-1: any number), attributes, and for each formal input
the tensor types it takes, as a hexadecimal set of ONNX's dtype numbers (0: no tensors).
"""
import onnx
from onnx import defs

OLDEST = 17
CODES = {name.lower(): code for name, code in onnx.TensorProto.DataType.items()}


def types(schema, formal):
    constraint = next((c for c in schema.type_constraints if c.type_param_str == formal.type_str), None)
    allowed = constraint.allowed_type_strs if constraint else [formal.type_str]
    tensors = [t[7:-1] for t in allowed if t.startswith("tensor(")]
    return f"{sum(1 << CODES[t] for t in tensors):x}"


rows = {}
for schema in defs.get_all_schemas_with_history():
    if schema.domain == "" and not schema.deprecated:
        rows.setdefault(schema.name, []).append(schema)
for name, schemas in sorted(rows.items()):
    schemas.sort(key=lambda s: s.since_version)
    first = max((i for i, s in enumerate(schemas) if s.since_version <= OLDEST), default=0)
    for s in schemas[first:]:
        most = -1 if s.inputs and s.inputs[-1].option == defs.OpSchema.FormalParameterOption.Variadic else len(s.inputs)
        print(name, s.since_version, most, ",".join(sorted(s.attributes)), ",".join(types(s, f) for f in s.inputs), sep="\t")
