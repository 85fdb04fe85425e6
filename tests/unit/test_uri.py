from __future__ import annotations

import pytest

from modelyard.uri import shown


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://bucket.example.com/a/b.csv?X-Amz-Signature=s3cret&x=1", "https://bucket.example.com/a/b.csv"),
        ("https://me:s3cret@example.com:8443/b.csv#s3cret", "https://example.com:8443/b.csv"),
        ("s3://bucket/b.csv?versionId=s3cret", "s3://bucket/b.csv"),
        ("file:///data/b.csv", "file:///data/b.csv"),
        ("data/what?.csv", "data/what?.csv"),  # a file's name has no query
        ("log_data", "log_data"),
    ],
)
def test_what_may_be_a_credential_is_not_shown(uri: str, expected: str) -> None:
    assert shown(uri) == expected
