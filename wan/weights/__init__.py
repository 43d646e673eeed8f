"""Checkpoints of Wan-family models: what a file is, whether it fits a module, and loading it.

Importing the package itself imports no torch.

shards   which files make up a checkpoint
files    open safetensors, shards and pickles without reading their tensors
layouts  tell which network a checkpoint holds and under which names
names    from the names of each layout to those of our modules
infer    the sizes of a network from the shapes of its checkpoint
moments  mean and deviation of the released VAE's latents
lora     low-rank updates, merged while loading
scan     NaN and infinite values
load     check everything, then put it on the device
"""
