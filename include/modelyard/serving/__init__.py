"""The model server of every image: small, quick, and alone; it imports nothing else of Modelyard.

A request passes a chain of small callables whose types are in ``messages.py``::

    connection → routes → parse → check → batch → predict → render
    (HTTP)                (contracts/) (signature) (batching) (worker) (contracts/)
"""
