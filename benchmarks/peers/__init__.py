"""This cluster beside its peers, in one run: `python -m benchmarks.peers`. `docs/peers.md` says what is compared."""
