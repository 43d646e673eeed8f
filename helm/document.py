"""Brings the chart's README.md, values.schema.json and dashboards up to date: `make chart`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from helm import dashboards, panels
from helm.values_comments import Documented, documented
from helm.values_schema import schema

CHART = Path(__file__).parent / "longlive-cluster"
_TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- end -->)", re.DOTALL)


def made() -> dict[Path, str]:
    """The files that are made, and what they should say."""
    values = (CHART / "values.yaml").read_text()
    said = list(documented(values))
    readme = CHART / "README.md"
    rules = schema(yaml.safe_load(values), {each.path: each.text for each in said})
    return {
        readme: _TABLE.sub(lambda _: _table(said), readme.read_text()),
        CHART / "values.schema.json": json.dumps(rules, indent=2, ensure_ascii=False) + "\n",
        **dashboards.made(panels.ALL),
    }


def _table(said: list[Documented]) -> str:
    parents = {each.path[:length] for each in said for length in range(1, len(each.path))}
    rows = [
        f"| `{'.'.join(each.path)}` | {'' if each.path in parents else _default(each.default)} | {each.text} |"
        for each in said
    ]
    return "\n".join(["| value | default | |", "|---|---|---|", *rows, ""])


def _default(value: object) -> str:
    return "" if value in ("", [], {}, None) else f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
