# Writes printf.json: what Python prints for conversions of property values.
# Run in this folder: python3 printf.py
import json
import random

values = [
    0, 1, -1, 42, -42, 123456, 2**63 - 1, -(2**63), True, False, None,
    0.0, 1.0, -1.5, 3.14159, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, 1.5e300, -0.0, 2.5e-7,
    "", "x", "abc", "a'b", 'a"b', "a'\"b", "é\n\t\\", "日本", "\x00\x7f\x80\u00a0", "\u200b\U0001F600\U000e0001",
    [1, "a", None, True, 1.5], [], {"a": [2], "b": 1}, {},
]
flags = ["", "-", "+", " ", "0", "#", "+0", "-0", "#0", "+ ", "-+", "#+"]
sizes = ["", "1", "8", "20", ".0", ".3", "12.4", "2.1", ".", "8."]

random.seed(7)
rows = []
for value in values:
    for conversion in "diouxXeEfFgGcrsa":
        picked = random.sample([f + s for f in flags for s in sizes], 5)
        for options in [""] + picked:
            format = "%" + options + conversion
            try:
                printed = format % (value,)
            except (TypeError, ValueError, OverflowError):
                printed = None
            rows.append([format, value, printed])
with open("printf.json", "w") as f:
    f.write("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
