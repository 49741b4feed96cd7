"""Several workers of one command on this machine: ports, GPUs, processes, and new attempts if one dies."""
