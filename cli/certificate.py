"""A certificate of our own, so that browsers on other machines may use their microphones. Kept until it runs out."""

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cli.data_dir import write_private

#: Apple's systems refuse certificates that hold longer than 825 days.
LIFE = timedelta(days=800)
#: Renewed this long before its end, at a start.
MARGIN = timedelta(days=30)


def self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    """The certificate and its key in `folder`, made anew when missing, about to run out, or for other names."""
    folder.mkdir(mode=0o700, exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = _names(host)
    if not (key.exists() and _fits(certificate, names)):
        _make(certificate, key, names)
    return certificate, key


def _names(host: str) -> list[x509.GeneralName]:
    """What clients may call this machine. Wildcard addresses are no names."""
    names: list[x509.GeneralName] = []
    for name in dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), host]):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            names.append(x509.DNSName(name))
            continue
        if not address.is_unspecified:
            names.append(x509.IPAddress(address))
    return names


def _fits(path: Path, names: list[x509.GeneralName]) -> bool:
    try:
        kept = x509.load_pem_x509_certificate(path.read_bytes())
        known = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return set(known) >= set(names) and kept.not_valid_after_utc - MARGIN > datetime.now(UTC)


def _make(certificate: Path, key: Path, names: list[x509.GeneralName]) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Antiphon (self-signed)")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Its own authority: who trusts it trusts no other certificate by it
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(secret, hashes.SHA256())
    )
    write_private(
        key,
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
