"""The load test: sessions of real WebRTC peers against a cluster, and what they and the machine had of it.

`python -m benchmarks.load --help`; `docs/load.md` says what the figures mean.
"""
