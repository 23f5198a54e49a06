"""The objects of Kubernetes that a platform is: a controller, gateways that follow it, and what they may do. Pure.

No object holds a secret. Tokens and the certificate of the control API are made where the platform first starts, and
published by it as Secrets, which gateways wait for. Sources: Kubernetes API reference 1.34, pod security standard
"restricted".
"""

import base64
from collections.abc import Mapping
from typing import Literal

import msgspec

from argosy.targets.kubernetes.client import RIGHTS, plural
from argosy.targets.kubernetes.definition import API, KIND
from argosy.targets.kubernetes.objects import LOGINS, MARGIN, SLEEP, USER, WRITABLE, Object, owned, typed

CONTROL, GATEWAY, DATABASE = "argosy", "argosy-gateway", "argosy-postgres"
"""The names of the three parts."""
TOKENS = {CONTROL: "argosy-control", GATEWAY: GATEWAY}
"""The Secrets that the platform publishes: for users, and for gateways. Each has `token` and `ca.crt`."""
PART = "argosy.dev/part"
CONTROL_PORT, HTTP, SQL = 7070, 8080, 5432
AUTHORITY = "/etc/argosy-control"
DRAIN = 30
"""Seconds for requests in flight at a gateway that ends."""
MIB = 1024**2
HEAP = 512
"""Megabytes from which on Envoy sheds load."""
POSTGRES = "postgres:17"
POSTGRES_USER = 999
TRIED = f"postgresql+psycopg://postgres@{DATABASE}/postgres"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed: the `image` of Argosy, which models run in, too, unless `replicas` names another; `blobs` is
    where packages lie for all; `database` the Secret with the URL of PostgreSQL under `url` (empty: SQLite on the
    volume); `postgres: try` installs a server without a password, which the controller alone reaches. What is
    `ephemeral` has no volume, and loses what it holds with its pod."""

    namespace: str
    image: str
    gateways: int = 2
    replicas: str = ""
    blobs: str = ""
    database: str = ""
    postgres: Literal["", "try"] = ""
    pull_secret: str = ""
    namespaced: bool = True
    ephemeral: bool = False


def of_platform(wanted: Installation) -> list[Object]:
    """Everything, in the order in which it is applied."""
    found = [*_accounts(), _role(), _binding()]
    found += [_controller(wanted), _service(CONTROL, CONTROL_PORT, CONTROL_PORT)]
    found += [_gateways(wanted), _service(GATEWAY, 80, HTTP), _budget()]
    found += [_reached(CONTROL, CONTROL_PORT), _reached(GATEWAY, HTTP)]
    if wanted.postgres:
        found += [_postgres(wanted), _service(DATABASE, SQL, SQL), _reached(DATABASE, SQL, CONTROL)]
    if not wanted.ephemeral:
        found += [_volume(part) for part in (CONTROL, DATABASE) if part == CONTROL or wanted.postgres]
    for each in found:
        each["metadata"]["namespace"] = wanted.namespace
    level = {f"pod-security.kubernetes.io/{how}": "restricted" for how in ("enforce", "warn")}
    return [typed("v1", "Namespace", wanted.namespace, level), *found] if wanted.namespaced else found


def published(part: str, token: str, certificate: str, owner: Object) -> Object:
    """The Secret by which others reach the control API; it goes with the controller, its `owner`."""
    data = {"token": token, "ca.crt": certificate}
    secret = typed("v1", "Secret", TOKENS[part], _labels(CONTROL))
    return owned(
        secret | {"data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}}, owner
    )


def _labels(part: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": part, "app.kubernetes.io/part-of": "argosy", PART: part}


def _selector(part: str) -> Object:
    return {"matchLabels": {PART: part}}


def _accounts() -> list[Object]:
    return [
        typed("v1", "ServiceAccount", part, _labels(part)) | {"automountServiceAccountToken": part == CONTROL}
        for part in (CONTROL, GATEWAY)
    ]


def _role() -> Object:
    """What the target does, and how declared objects are followed; in this namespace alone."""
    rules = [
        {"apiGroups": [version.rpartition("/")[0]], "resources": [plural(kind)], "verbs": sorted(verbs)}
        for (version, kind), verbs in sorted(RIGHTS.items())
    ]
    group = API.partition("/")[0]
    rules.append({"apiGroups": [group], "resources": [plural(KIND)], "verbs": ["list", "watch"]})
    rules.append({"apiGroups": [group], "resources": [f"{plural(KIND)}/status"], "verbs": ["patch"]})
    return typed("rbac.authorization.k8s.io/v1", "Role", CONTROL, _labels(CONTROL)) | {"rules": rules}


def _binding() -> Object:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": CONTROL}
    made = typed("rbac.authorization.k8s.io/v1", "RoleBinding", CONTROL, _labels(CONTROL))
    return made | {"roleRef": role, "subjects": [{"kind": "ServiceAccount", "name": CONTROL}]}


def _volume(part: str) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    return typed("v1", "PersistentVolumeClaim", part, _labels(part)) | {"spec": spec}


def _service(part: str, port: int, target: int) -> Object:
    spec = {"selector": {PART: part}, "ports": [{"name": "main", "port": port, "targetPort": target}]}
    return typed("v1", "Service", part, _labels(part)) | {"spec": spec}


def _budget() -> Object:
    spec = {"selector": _selector(GATEWAY), "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return typed("policy/v1", "PodDisruptionBudget", GATEWAY, _labels(GATEWAY)) | {"spec": spec}


def _reached(part: str, port: int, by: str = "") -> Object:
    """One port is reached: by all, or by the pods of one part."""
    sources = {"from": [{"podSelector": _selector(by)}]} if by else {}
    spec = {
        "podSelector": _selector(part),
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": port}], **sources}],
    }
    return typed("networking.k8s.io/v1", "NetworkPolicy", part, _labels(part)) | {"spec": spec}


def _controller(wanted: Installation) -> Object:
    env = {
        "ARGOSY_CONTROL_HOST": "0.0.0.0",
        "ARGOSY_CONTROL_PORT": str(CONTROL_PORT),
        "ARGOSY_CONTROL_EXPOSE": "true",
        "ARGOSY_CONTROL_NAMES": ",".join((CONTROL, f"{CONTROL}.{wanted.namespace}.svc")),
        "ARGOSY_GATEWAY_PLACE": "remote",
        "ARGOSY_GATEWAY_URL": f"http://{GATEWAY}.{wanted.namespace}.svc",
        "ARGOSY_REPLICAS_TARGET": "kubernetes",
        "ARGOSY_KUBERNETES_IMAGE": wanted.replicas or wanted.image,
        "ARGOSY_KUBERNETES_PULL_SECRET": wanted.pull_secret,
        "ARGOSY_STORE_BLOBS": wanted.blobs,
        "ARGOSY_STORE_DATABASE": TRIED if wanted.postgres else "",
        "REGISTRY_AUTH_FILE": f"{LOGINS}/auth.json" if wanted.pull_secret else "",
    }
    container = _container("controller", wanted.image, env, CONTROL_PORT, memory=1024)
    container |= {
        "args": ["up", "--in-cluster"],
        "readinessProbe": {"tcpSocket": {"port": CONTROL_PORT}, "periodSeconds": 2},
    }
    if wanted.database:
        source = {"secretKeyRef": {"name": wanted.database, "key": "url"}}
        container["env"].append({"name": "ARGOSY_STORE_DATABASE", "valueFrom": source})
    pod = _pod(CONTROL, wanted, container)
    pod["securityContext"]["fsGroup"] = USER
    if wanted.pull_secret:
        items = [{"key": ".dockerconfigjson", "path": "auth.json"}]
        pod["volumes"].append({"name": "logins", "secret": {"secretName": wanted.pull_secret, "items": items}})
        container["volumeMounts"].append({"name": "logins", "mountPath": LOGINS, "readOnly": True})
    return _deployment(CONTROL, 1, pod)


def _gateways(wanted: Installation) -> Object:
    """Pods that follow. They are ready once Envoy listens, which it does by a snapshot and not before."""
    env = {
        "ARGOSY_CONTROL_URL": f"https://{CONTROL}.{wanted.namespace}.svc:{CONTROL_PORT}",
        "ARGOSY_CONTROL_CA": f"{AUTHORITY}/ca.crt",
        "ARGOSY_CONTROL_TOKEN": f"{AUTHORITY}/token",
        "ARGOSY_GATEWAY_HOST": "0.0.0.0",
        "ARGOSY_GATEWAY_PORT": str(HTTP),
        "ARGOSY_GATEWAY_MAX_HEAP_BYTES": str(HEAP * MIB),
    }
    container = _container("gateway", wanted.image, env, HTTP, memory=2 * HEAP)
    container["env"].append({"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    container["volumeMounts"].append({"name": "control", "mountPath": AUTHORITY, "readOnly": True})
    container |= {
        "args": ["gateway", "--name", "$(POD)"],
        "readinessProbe": {"httpGet": {"path": "/v2/health/live", "port": HTTP}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": SLEEP}}},
    }
    pod = _pod(GATEWAY, wanted, container)
    pod["volumes"].append({"name": "control", "secret": {"secretName": TOKENS[GATEWAY]}})
    pod["terminationGracePeriodSeconds"] = SLEEP + DRAIN + 2 * MARGIN
    pod["topologySpreadConstraints"] = [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": _selector(GATEWAY)}
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    return _deployment(GATEWAY, wanted.gateways, pod)


def _postgres(wanted: Installation) -> Object:
    env = {"POSTGRES_HOST_AUTH_METHOD": "trust", "PGDATA": f"{WRITABLE}/data"}
    container = _container("postgres", POSTGRES, env, SQL, memory=256)
    container["readinessProbe"] = {"exec": {"command": ["pg_isready", "-U", "postgres"]}, "periodSeconds": 2}
    container["volumeMounts"].append({"name": "run", "mountPath": "/var/run/postgresql"})
    pod = _pod(DATABASE, wanted, container, user=POSTGRES_USER)
    pod["volumes"].append({"name": "run", "emptyDir": {}})
    pod["securityContext"]["fsGroup"] = POSTGRES_USER
    return _deployment(DATABASE, 1, pod)


def _deployment(part: str, replicas: int, pod: Object) -> Object:
    """One that holds a volume ends before its successor starts; of gateways there is always one more."""
    strategy: Object = {"type": "Recreate"}
    if part == GATEWAY:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    template = {"metadata": {"labels": _labels(part)}, "spec": pod}
    spec = {"replicas": replicas, "selector": _selector(part), "strategy": strategy, "template": template}
    return typed("apps/v1", "Deployment", part, _labels(part)) | {"spec": spec}


def _container(name: str, image: str, env: Mapping[str, str], port: int, memory: int) -> Object:
    given = {"ARGOSY_HOME": WRITABLE, "HOME": WRITABLE} if name != "postgres" else {}
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in sorted((given | dict(env)).items()) if value],
        "ports": [{"containerPort": port}],
        "resources": {"requests": {"cpu": "250m", "memory": f"{memory}Mi"}, "limits": {"memory": f"{memory}Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "home", "mountPath": WRITABLE}, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _pod(part: str, wanted: Installation, container: Object, user: int = USER) -> Object:
    pulled = {"imagePullSecrets": [{"name": wanted.pull_secret}]} if wanted.pull_secret else {}
    home: Object = {"persistentVolumeClaim": {"claimName": part}}
    if wanted.ephemeral or part == GATEWAY:
        home = {"emptyDir": {}}
    account = {"automountServiceAccountToken": False} if part == DATABASE else {"serviceAccountName": part}
    return {
        **account,
        **pulled,
        "enableServiceLinks": False,  # their variables would be taken for settings
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "home", **home}, {"name": "tmp", "emptyDir": {}}],
    }
