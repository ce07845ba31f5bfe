"""Where vectors are computed: `registry` lists the backends that have a name, `base` is the contract of all."""
