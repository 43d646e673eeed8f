"""The chart, and what makes its README.md and values.schema.json."""
