"""OCI images: layers, images as values, and the stores that keep them. No daemon, no privileges."""

from modelyard.images.image import Image, validate
from modelyard.images.index import Index
from modelyard.images.layer import Layer
from modelyard.images.open import open_images
from modelyard.images.store import ImageStore, Referrer

__all__ = ["Image", "ImageStore", "Index", "Layer", "Referrer", "open_images", "validate"]
