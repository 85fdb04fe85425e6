"""What runs inside a project's own process, in the project's own environment: standard library only.

It is put on the path there, and must work with any Python from 3.11 and any version of the project's packages.
"""
