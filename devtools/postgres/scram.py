"""How PostgreSQL stores a password, made by us so that a login with it costs little."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["cheap_verifier"]


def cheap_verifier(password: str) -> str:
    """Return what a server stores for *password* (ASCII), which it takes in the place of the password.

    With one iteration of its hash. The usual 4096 protect passwords that people choose, and cost
    milliseconds for each of many connections; only from PostgreSQL 16 on the server can be asked for
    less. For random passwords.
    See https://www.postgresql.org/docs/current/catalog-pg-authid.html and RFC 5802.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, 1)
    client_key, server_key = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    stored_key = hashlib.sha256(client_key).digest()
    salt_text, stored, server = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256$1:{salt_text}${stored}:{server}"
