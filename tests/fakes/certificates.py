# SPDX-License-Identifier: Apache-2.0
"""Certificates of an authority that lives as long as a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """An authority whose files lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        folder.mkdir()
        self.ca = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca))

    def issue(self, *identities: str) -> Pair:
        """Return a new certificate for hosts, addresses or people."""
        issued = self._ca.issue_cert(*identities)
        pair = Pair(self._folder / f"{identities[0]}.pem", self._folder / f"{identities[0]}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(pair.key))
        return pair
