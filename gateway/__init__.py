"""The HTTP side of the cluster: tokens, sessions, signalling, and the studio."""
