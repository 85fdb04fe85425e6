"""What an image's origin can be told by: a signature, a bill of materials, a statement of how it was made.

All of it lies beside the image in its repository, in formats that other tools read.
"""

from modelyard.supply_chain.key import SigningKey

__all__ = ["SigningKey"]
