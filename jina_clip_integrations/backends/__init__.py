"""Where vectors are computed: Jina's API or a server like it, this machine, a cloud endpoint, or your own object."""
