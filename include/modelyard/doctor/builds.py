"""Would a namespace take the pod that builds a project's own Dockerfile? Asked without making one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import quote

from modelyard import pod_security
from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.doctor.finding import Finding
from modelyard.execution.project_container import BUILDER_IMAGE, builder_container, builder_volumes

_SIZE = {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"}


def look(cluster: Cluster, namespace: str, image: str | None, seccomp_profile: str | None) -> Iterator[Finding]:
    """Tell whether the cluster's rules allow it; whether a node's kernel does shows when it builds.

    Args:
        cluster: whose account may run steps.
        namespace: of the steps.
        image: the builder's, if another one than the default is set.
        seccomp_profile: likewise.
    """
    subject = f"Dockerfiles in {namespace}"
    container = builder_container(image or BUILDER_IMAGE, seccomp_profile, {"requests": _SIZE, "limits": _SIZE})
    # The API server knows no native side-car but beside another container: here it is the only one.
    del container["restartPolicy"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"modelyard-doctor-{secrets.token_hex(4)}", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": pod_security.of_pod(owns_volumes=True),
            "containers": [container],
            "volumes": builder_volumes(),
        },
    }
    path = f"/api/v1/namespaces/{quote(namespace)}/pods?dryRun=All"
    status, _, answer = cluster.ask_once("POST", path, pod, accept=(403, 404, 422))
    if status < 300:
        yield Finding("ok", subject, f"a project's own may be built, by {container['image']}")
    elif "PodSecurity" in str(answer.get("message", "")):
        why = "no project's own can be built: the namespace's Pod Security Standard keeps the builder out"
        yield Finding("skipped", subject, f"{why}. Who needs it: docker/README.md")
    else:
        yield Finding("skipped", subject, f"no project's own can be built: {answer.get('message')}")
