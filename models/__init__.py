"""The contract between a model and the cluster.

contract   what a model fulfils: spec, commands, messages, director, stream
media      what flows between an engine and the media path
events     the log of a session: its lines, written and read
registry   models by name, through entry points
echo       a model without weights: the webcam with an effect, the microphone as it came
"""
