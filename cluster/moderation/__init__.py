"""What clients say and show is looked at before the model sees it. Off unless the settings name a list or a webhook.

verdict    what a moderator is asked and answers; the refusals that come of it
denylist   a moderator: words, patterns and pictures of a file
webhook    a moderator: an HTTP service of the operator's
contents   all texts and pictures in a command or a snapshot
gate       one per worker: asks the moderators, remembers verdicts, counts
screen     one per session: refuses commands, counts warnings, ends the session
"""
