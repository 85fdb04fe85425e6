"""Garbage collection: what nothing in the model store refers to any more is found, told, and deleted after a while.

**What is kept** (``roots.py``). Every digest in any field of a version, a deployment, an alias or a Sacred run: models,
data, project trees, reports, release images, environments. A version is never garbage, so neither is what a rollback
may choose. All that the steps of an unfinished pipeline run have left, and the reports of every run. Signatures and
whatever else is attached to an image live as long as it does.

**What can be garbage.** Artifacts that none of these name, as of a run that failed before it registered a version, or a
compiled model that was not released. Uploads that were begun and never ended. Of images: those in ``staging/`` of
runs that have ended, environments whose lock no version has, environment images, images of projects' Dockerfiles that
no version was made with, releases that were never recorded; and in a folder of images base images, Modelyard's own
environments (server, converters, runner) that no version was made with, and all bytes that no image has. In a registry
these two stay: other stores use the very same, and their bytes are in all releases. What was read of a layer, for bills
of materials, goes when no version names the layer: of a base's none does, so after a while that is read again. Never
touched: prediction logs, what lies in the bucket or the registry beside Modelyard's own names, tags that a person has
made, GridFS.

**On this machine** (``here.py``) lie copies of what the image store has: unpacked environments and images, packed
layers. No reference is asked for: one that is wanted again is made again. They go when nobody has used them for the
time that is asked for, a day at least, and no service, no step and no process of this machine uses them now.
``images/copies.py`` says why nobody is given one that is about to go. uv's cache is uv's own (``uv cache prune``).

**How it is safe beside running pipelines.** Bytes are kept by their digest, so a step may find what it would store
there already, unreferenced for months, and rely on it while its own reference comes only at its end. So nothing is
deleted because it is old. What is found unreferenced is written on a list (``store/condemned.py``), and deleted by a
later collection if

- it has been on the list for the time that is asked for (seven days) *before the oldest step began that runs now*: so
  whoever runs began when it was on the list, or has ended, and its references are seen;
- nobody has taken it off the list. Whoever stores something, uses an image again or registers a version does that
  first, and looks only then whether the thing is there. Taking off and claiming for deletion are single writes to one
  document: one comes first. A writer that comes second waits until the thing is gone, and writes it anew.

The time matters only for writers that no record tells of (a laptop that registers a version, ``modelyard lock``), which
take seconds; so it is never less than an hour. The order within a collection matters too: first who writes, then the
unfinished runs' references, then the lasting ones. References move in that direction only.

**Killed at any moment**, it leaves claims on the list, which end by themselves; the next collection goes on. When a
deletion fails, claims are left only of what may still be on its way to be deleted: nobody waits for the rest. Two at
once claim different things. **A store that shares its bucket** with another one is refused: each leaves its name there.
In a registry, which may be shared, only what this store's own records name is ever looked at.
"""

from __future__ import annotations
