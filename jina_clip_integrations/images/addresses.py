"""Which hosts and addresses are public: reachable from anywhere, and part of nobody's own network."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""Upper half of an interface identifier whose lower half is an IPv4 address (RFC 5214)."""

_OTHERS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; older Pythons take parts for public, among them a cloud's metadata host
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # public, but inside an Azure machine it is the platform's own service (WireServer)
        "2001::/23",  # protocol assignments
        "3fff::/20",  # documentation (RFC 9637)
    )
)
"""What is not public besides what `ipaddress` knows, whose tables differ between versions of Python."""

_INNER_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "corp", "home", "private")
"""Domains that no public name ends in: RFC 6761, 6762 and 8375, and what ICANN keeps free for inner networks."""

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def is_public(address: str) -> bool:
    """Whether `address` is reachable from anywhere; an IPv4 address inside an IPv6 one is checked too."""
    if "%" in address:  # a zone belongs to an interface of this machine
        return False
    found: Any = ipaddress.ip_address(address)
    if found.version == 6:
        inner = _inner_ipv4(found)
        if inner is not None:
            return all(is_public(str(part)) for part in inner)
        if found not in _GLOBAL_IPV6:
            return False
    if any(found in network for network in _OTHERS):
        return False
    return bool(found.is_global and not found.is_multicast and not found.is_reserved)


def _inner_ipv4(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...] | None:
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64 or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return None


def literal_address(host: str) -> str | None:
    """The address that `host` is, in whatever spelling; None for a name. Raises `ValueError` for a broken one.

    Whatever ends in a number is an IPv4 address (WHATWG URL, "ends in a number"): decimal, octal, hexadecimal and short
    forms are understood here as a resolver or a proxy would.
    """
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare:
        return str(ipaddress.ip_address(bare))
    name = bare.rstrip(".").lower()
    if _NUMBER.fullmatch(name.rpartition(".")[2]) is None:
        return None
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(name)))
    except OSError as error:
        raise ValueError("a host that ends in a number and is no IPv4 address") from error


def is_inner_name(host: str) -> bool:
    """Whether the name `host` can only mean something in a network of one's own: no dot, or a domain kept for that."""
    name = host.rstrip(".").lower()
    return "." not in name or any(name == domain or name.endswith(f".{domain}") for domain in _INNER_NAMES)


def is_public_host(host: str) -> bool:
    """Whether `host` may be public, as far as can be told without asking anybody."""
    try:
        address = literal_address(host)
    except ValueError:
        return False
    return is_public(address) if address is not None else not is_inner_name(host)


def resolve(host: str, port: int) -> list[str]:
    """Every address of `host`, in the order the system prefers."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
