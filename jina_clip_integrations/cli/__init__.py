"""The `jina-clip` command. `main.py` lists the subcommands; each lives in a file of its own name."""
