"""Building blocks of Wan-family video models: torch, and nothing of ours."""
