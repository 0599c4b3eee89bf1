"""The README.md of a chart: what stands in the chart's README.head.md, then a table of its values.

A comment `# -- text` above a key, and the comment lines that follow it, describe that key.
"""

import json

import yaml


def descriptions(text):
    """The description of each described key, by its path."""
    found, path, comment = {}, [], []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#"):
            if comment:
                comment.append(stripped.removeprefix("# "))
        elif not stripped:
            comment = []
        elif ":" in stripped and not stripped.startswith("-"):
            depth = (len(line) - len(line.lstrip())) // 2
            path = path[:depth] + [stripped.split(":")[0]]
            if comment:
                found[tuple(path)] = " ".join(comment)
            comment = []
    return found


def default(value):
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def table(values_file):
    text = values_file.read_text()
    values = yaml.safe_load(text)
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for path, description in descriptions(text).items():
        value = values
        for key in path:
            value = value[key]
        name, description = ".".join(path), description.replace("|", "\\|")
        rows.append(f"| `{name}` | {default(value)} | {description} |")
    return "\n".join(rows) + "\n"


def undescribed(values_file):
    """Keys without a description above them or above one that holds them."""
    text = values_file.read_text()
    known = descriptions(text)

    def walk(value, path):
        if path in known:
            return
        if isinstance(value, dict) and value:
            for key, it in value.items():
                yield from walk(it, path + (key,))
        else:
            yield ".".join(path)

    return list(walk(yaml.safe_load(text), ()))


def readme(chart):
    return (chart / "README.head.md").read_text() + "\n" + table(chart / "values.yaml")
