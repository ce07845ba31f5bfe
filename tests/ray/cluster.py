"""A Ray cluster for a suite, as a process of its own: the programs that attach to it can be killed, and it stays.

Prints the cluster's address, then obeys lines on its input: `add` starts a second node with one CPU, `kill` kills that
node as a failing machine would. Ends with its input, and with it every process of the cluster.
"""

from __future__ import annotations

import contextlib
import sys

from ray.cluster_utils import Cluster

STORE_BYTES = 200_000_000
"""Object store of a node; Ray wants 75 MB at least."""


NOTICE_S = 60
"""How long a cluster may take to notice that a node is gone, in seconds; Ray looks every three."""


def serve() -> None:
    """Run a cluster until the input ends."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "object_store_memory": STORE_BYTES},
    )
    second = None
    try:
        print(cluster.address, flush=True)
        for line in sys.stdin:
            if line.strip() == "add":
                second = cluster.add_node(num_cpus=1, resources={"second": 1}, object_store_memory=STORE_BYTES)
            elif second is not None:
                cluster.remove_node(second, allow_graceful=False)
                # Until the cluster has noticed: work of a later test would be given to the dead node.
                with contextlib.suppress(TimeoutError):
                    cluster.wait_for_nodes(timeout=NOTICE_S)
            print("done", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    serve()
