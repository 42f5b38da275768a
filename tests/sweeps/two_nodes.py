"""A Ray of two nodes on this machine: prints its address; "kill" on standard input kills the second node (kill -9)."""

import sys
import tempfile

from ray.cluster_utils import Cluster

QUICK = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 300, "health_check_timeout_ms": 1000,
         "health_check_failure_threshold": 3}  # fmt: skip


def main():
    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as short:  # sockets: 107 bytes
        head = {**node, "include_dashboard": False, "temp_dir": short, "_system_config": QUICK}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        second = cluster.add_node(**node)
        print(cluster.address, flush=True)
        for line in sys.stdin:
            if line.strip() == "kill":
                cluster.remove_node(second, allow_graceful=False)
                print("killed", flush=True)
        cluster.shutdown()


if __name__ == "__main__":
    main()
