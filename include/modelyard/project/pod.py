"""What a step's pod is given beyond Modelyard's own, in Kubernetes' own spelling: ``steps.<step>.pod`` of model.yaml.

Only what is here can be asked for: neither another image or command nor a right that the restricted Pod Security
Standard takes away. The names of the fields are Kubernetes', so that what its documentation shows can be pasted.
"""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from modelyard.project.affinity import check_affinity
from modelyard.project.section import Section

JSON = dict[str, Any]

# Below these are the step's own files and interpreter: who writes there runs as the step, beside its credentials.
_SYSTEM = frozenset(
    "bin boot dev etc lib lib32 lib64 libx32 modelyard opt proc root run sbin sys tmp usr var".split()  # noqa: SIM905
)
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - of the pod


def _check_mount_path(path: str) -> str:
    if not re.match("/(?!/)", path) or ":" in path or posixpath.normpath(path) != path:  # it keeps two slashes
        raise ValueError(f"'{path}' is no absolute path in its shortest form")
    if path.split("/")[1] in _SYSTEM and path != _SHARED_MEMORY:
        raise ValueError(f"'/{path.split('/')[1]}' is the step's own: mount it below /mnt, /data or another folder")
    if path == "/":
        raise ValueError("the root is the step's own: mount it below /mnt, /data or another folder")
    return path


def _check_sub_path(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"'{path}' is not a path inside the volume")
    return path


ObjectName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
VolumeName = Annotated[str, Field(max_length=55, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]  # 63 with our prefix
Key = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _check_one(section: Section, what: str) -> None:
    names = [name for name in type(section).model_fields if name != "name"]
    given = [name for name in names if getattr(section, name) is not None]
    if len(given) != 1:
        which = " and ".join(f"`{name}`" for name in given) or "none"
        raise ValueError(f"{what} has one of {', '.join(f'`{name}`' for name in names)}, and here {which} is given")


class KeyReference(Section):
    """One key of a Secret or of a config map."""

    name: ObjectName = Field(description="Name of the Secret or config map.", examples=["wandb"])
    key: Key = Field(description="The key in it.", examples=["api-key"])
    optional: bool = Field(default=False, description="Whether the pod starts all the same when it is not there.")


class FieldReference(Section):
    """A field of the pod itself."""

    fieldPath: str = Field(  # noqa: N815
        pattern=r"^(metadata|spec|status)\.\S+$", description="Which field.", examples=["spec.nodeName"]
    )


class VariableSource(Section):
    """Where a variable's value comes from: exactly one of these."""

    secretKeyRef: KeyReference | None = Field(default=None, description="A key of a Secret.")  # noqa: N815
    configMapKeyRef: KeyReference | None = Field(default=None, description="A key of a config map.")  # noqa: N815
    fieldRef: FieldReference | None = Field(default=None, description="A field of the pod.")  # noqa: N815

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        _check_one(self, "`valueFrom`")
        return self


class Variable(Section):
    """One variable of the project's code."""

    name: VariableName = Field(description="Its name.", examples=["WANDB_API_KEY"])
    value: str | None = Field(default=None, description="Its value, which everybody may read.")
    valueFrom: VariableSource | None = Field(default=None, description="Where its value is.")  # noqa: N815

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        _check_one(self, f"'{self.name}'")
        return self


class Reference(Section):
    """A Secret or a config map by name."""

    name: ObjectName = Field(description="Its name.")
    optional: bool = Field(default=False, description="Whether the pod starts all the same when it is not there.")


class VariablesSource(Section):
    """All keys of a Secret or of a config map as variables."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None, description="Put before each key."
    )
    secretRef: Reference | None = Field(default=None, description="The Secret.")  # noqa: N815
    configMapRef: Reference | None = Field(default=None, description="The config map.")  # noqa: N815

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.secretRef is None) == (self.configMapRef is None):
            raise ValueError("an entry of `envFrom` has one of `secretRef` and `configMapRef`")
        return self


class Toleration(Section):
    """A taint of nodes that the pod accepts."""

    key: str | None = Field(default=None, min_length=1, description="The taint's key; null: of all keys.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How key and value are compared.")
    value: str | None = Field(default=None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; null: all of them."
    )
    tolerationSeconds: int | None = Field(default=None, ge=0, description="How long, of `NoExecute`.")  # noqa: N815

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("with `operator: Exists` there is no `value`")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("without `key` the operator is `Exists`")
        return self


class Item(Section):
    """One key of a volume's Secret or config map, as a file."""

    key: Key = Field(description="The key.")
    path: Annotated[str, AfterValidator(_check_sub_path)] = Field(min_length=1, description="The file's path in it.")
    mode: int | None = Field(default=None, ge=0, le=0o777, description="The file's permissions.")


class ConfigMapVolume(Section):
    """A config map as files."""

    name: ObjectName = Field(description="The config map.")
    items: tuple[Item, ...] | None = Field(default=None, strict=False, description="Only these keys.")
    defaultMode: int | None = Field(default=None, ge=0, le=0o777, description="The files' permissions.")  # noqa: N815
    optional: bool = Field(default=False, description="Whether the pod starts all the same when it is not there.")


class SecretVolume(Section):
    """A Secret as files."""

    secretName: ObjectName = Field(description="The Secret.")  # noqa: N815
    items: tuple[Item, ...] | None = Field(default=None, strict=False, description="Only these keys.")
    defaultMode: int | None = Field(default=None, ge=0, le=0o777, description="The files' permissions.")  # noqa: N815
    optional: bool = Field(default=False, description="Whether the pod starts all the same when it is not there.")


class ClaimVolume(Section):
    """A persistent volume that is there."""

    claimName: ObjectName = Field(description="Its claim.")  # noqa: N815
    readOnly: bool = Field(default=False, description="Whether nothing may write to it.")  # noqa: N815


class EmptyVolume(Section):
    """An empty folder of the pod's own."""

    medium: Literal["", "Memory"] = Field(default="", description="`Memory`: in the node's memory.")
    sizeLimit: str | None = Field(default=None, description="How much may be in it.", examples=["8Gi"])  # noqa: N815


class EphemeralVolume(Section):
    """A persistent volume that is made with the pod and goes with it."""

    volumeClaimTemplate: JSON = Field(description="Its claim, as Kubernetes writes it.")  # noqa: N815


class CsiVolume(Section):
    """What a driver of the cluster provides."""

    driver: str = Field(min_length=1, description="The driver.")
    readOnly: bool = Field(default=False, description="Whether nothing may write to it.")  # noqa: N815
    fsType: str | None = Field(default=None, description="Its file system.")  # noqa: N815
    volumeAttributes: dict[str, str] = Field(  # noqa: N815
        default_factory=dict, description="What the driver is told."
    )


class Volume(Section):
    """One volume, of a kind that the restricted Pod Security Standard admits."""

    name: VolumeName = Field(description="Its name.", examples=["data"])
    configMap: ConfigMapVolume | None = Field(default=None, description="A config map.")  # noqa: N815
    secret: SecretVolume | None = Field(default=None, description="A Secret.")
    persistentVolumeClaim: ClaimVolume | None = Field(default=None, description="A claim.")  # noqa: N815
    emptyDir: EmptyVolume | None = Field(default=None, description="An empty folder.")  # noqa: N815
    ephemeral: EphemeralVolume | None = Field(default=None, description="A volume for this pod alone.")
    csi: CsiVolume | None = Field(default=None, description="Of a driver.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        _check_one(self, f"the volume '{self.name}'")
        return self


class VolumeMount(Section):
    """Where a volume is, for the project's code."""

    name: VolumeName = Field(description="The volume.", examples=["data"])
    mountPath: Annotated[str, AfterValidator(_check_mount_path)] = Field(  # noqa: N815
        description="The folder where it is; none of the system's.", examples=["/mnt/data"]
    )
    subPath: Annotated[str, AfterValidator(_check_sub_path)] | None = Field(  # noqa: N815
        default=None, min_length=1, description="A part of the volume."
    )
    readOnly: bool = Field(default=False, description="Whether nothing may write to it.")  # noqa: N815


class PullSecret(Section):
    """A Secret that opens a registry to the node."""

    name: ObjectName = Field(description="Its name.")


class Pod(Section):
    """What a step's pod is given in a cluster, as Kubernetes writes it."""

    nodeSelector: dict[str, str] = Field(  # noqa: N815
        default_factory=dict, description="Labels of the nodes it may run on.", examples=[{"disk": "ssd"}]
    )
    affinity: JSON | None = Field(default=None, description="What it prefers or needs to be near to, or apart from.")
    tolerations: tuple[Toleration, ...] = Field(
        default=(),
        strict=False,
        description="Taints of nodes that it accepts.",
        examples=[[{"key": "gpu", "operator": "Exists"}]],
    )
    priorityClassName: ObjectName | None = Field(  # noqa: N815
        default=None, description="Its priority class.", examples=["batch"]
    )
    serviceAccountName: ObjectName | None = Field(  # noqa: N815
        default=None, description="The account it runs as; it gets a token for `deploy` alone. null: Modelyard's own."
    )
    imagePullSecrets: tuple[PullSecret, ...] = Field(  # noqa: N815
        default=(), strict=False, description="Secrets that open registries.", examples=[[{"name": "registry"}]]
    )
    env: tuple[Variable, ...] = Field(
        default=(),
        strict=False,
        description="Variables of the project's code, of `train` and `validate`.",
        examples=[[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "data", "key": "token"}}}]],
    )
    envFrom: tuple[VariablesSource, ...] = Field(  # noqa: N815
        default=(),
        strict=False,
        description="Secrets and config maps whose keys are such variables.",
        examples=[[{"configMapRef": {"name": "training"}}]],
    )
    volumes: tuple[Volume, ...] = Field(
        default=(),
        strict=False,
        description="configMap, secret, persistentVolumeClaim, emptyDir, ephemeral or csi.",
        examples=[[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]],
    )
    volumeMounts: tuple[VolumeMount, ...] = Field(  # noqa: N815
        default=(),
        strict=False,
        description="Where these volumes are; nowhere in the system's own folders.",
        examples=[[{"name": "data", "mountPath": "/mnt/data"}]],
    )

    @field_validator("affinity")
    @classmethod
    def _is_affinity(cls, value: JSON | None) -> JSON | None:
        return value if value is None else check_affinity(value)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        volumes = [volume.name for volume in self.volumes]
        paths = [mount.mountPath for mount in self.volumeMounts]
        for what, names in {
            "variable": [variable.name for variable in self.env],
            "volume": volumes,
            "mount path": paths,
        }.items():
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"the {what} '{twice[0]}' is given twice")
        for mount in self.volumeMounts:
            if mount.name not in volumes:
                raise ValueError(f"`volumeMounts` names '{mount.name}', which is not among `volumes`")
        return self

    def to_json(self) -> JSON:
        """Return what is asked for, as Kubernetes writes it."""
        return self.model_dump(mode="json", exclude_none=True)
