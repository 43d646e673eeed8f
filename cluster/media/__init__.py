"""The media path of a session: pacing, encoding, peers. Knows neither Ray nor a model."""
