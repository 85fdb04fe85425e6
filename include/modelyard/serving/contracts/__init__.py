"""One module a platform's contract: how its requests are parsed into a ``Call``, and how its answers look."""
