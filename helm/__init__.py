"""The chart, and what makes its README.md, values.schema.json and dashboards."""
