"""The command line: `longlive-cluster demo | serve | doctor | workers | keys`."""
