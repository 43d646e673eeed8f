"""Does this engine give what the reference implementation gave? Checks golden files, in float32 on the CPU.

A golden file is safetensors: weights `w/*`, inputs `in/*`, outputs `out/*` and, of a rollout, `call/NNNN/flow`; its
metadata `config` is JSON. `golden` reads one, `check` tells its kind by its keys and compares, and there is a module
per kind: `sampler`, `dit`, `rollout`, `vae`, `text`. `python -m longlive.parity FILE...` prints what came out.
"""
