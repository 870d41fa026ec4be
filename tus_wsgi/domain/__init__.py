"""The vocabulary that all other packages share: values, errors, commands, events and interfaces."""
