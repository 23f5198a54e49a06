"""The command `argosy`: one file per group of commands, loaded when it is called."""
