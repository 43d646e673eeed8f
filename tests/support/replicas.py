"""More replicas of the gateway on a cluster that runs: `python -m tests.support.replicas COUNT PREFIX`.

They serve below PREFIX from the moment that `ready` is printed until stdin is closed.
"""

from __future__ import annotations

import sys

import ray
from ray import serve

from cluster.settings import Settings
from gateway.deployment import deployment

APP = "more"


def main(count: int, prefix: str) -> None:
    """Settings are the environment's, and so is the cluster."""
    ray.init(log_to_driver=False)
    app = deployment().options(num_replicas=count).bind(Settings())
    serve.run(app, name=APP, route_prefix=prefix)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    serve.delete(APP, _blocking=False)  # they leave by themselves, in seconds


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
