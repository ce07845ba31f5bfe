"""Which addresses and hosts count as public, in every spelling."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from jina_clip_integrations.images.addresses import is_inner_name, is_public, is_public_host, literal_address

PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.5.5",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:168.63.129.16",
    "::ffff:0:7f00:1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "192.88.99.1",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::a00:1",
    "64:ff9b:1::808:808",
    "64:ff9b:1:fffe::7f00:1",
    "2001:0:7f00:1::",
    "2001::f5ff:fffe",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:127.0.0.1",
    "4000::1",
]

PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]

SPELLINGS = {
    "2130706433": "127.0.0.1",
    "0x7f000001": "127.0.0.1",
    "0X7F.1": "127.0.0.1",
    "017700000001": "127.0.0.1",
    "0177.0.0.1": "127.0.0.1",
    "0177.0.0.0x1": "127.0.0.1",
    "127.1": "127.0.0.1",
    "127.0.1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "0": "0.0.0.0",
    "0x": None,
    "0xa9fea9fe": "169.254.169.254",
    "2852039166": "169.254.169.254",
    "0251.0376.0251.0376": "169.254.169.254",
    "0xa9.0xfe.0xa9.0xfe": "169.254.169.254",
    "169.254.43518": "169.254.169.254",
    "10.1": "10.0.0.1",
    "192.168.257": "192.168.1.1",
    "[::ffff:127.0.0.1]": "::ffff:127.0.0.1",
    "[0:0:0:0:0:ffff:7f00:1]": "::ffff:7f00:1",
    "[::1]": "::1",
    "[fe80::1%eth0]": "fe80::1%eth0",
    "1.1.1.1": "1.1.1.1",
    "0x01010101": "1.1.1.1",
}
"""Host as written, and the address it is; None where it may be refused as no address."""

BROKEN = ["1.2.3.4.5", "256.1.1.1", "08.1.1.1", "1.1.1.0xzz.9", "4294967296", "::g", "1..1", "a.b.1"]

INNER = [
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "metadata",
    "metadata.google.internal",
    "metadata.goog.internal.",
    "instance-data",
    "kubernetes.default.svc.cluster.local",
    "printer.local",
    "router.lan",
    "nas.home.arpa",
    "wiki.corp",
    "minio",
]


@pytest.mark.obligation("20")
@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.obligation("20")
@pytest.mark.parametrize("host", SPELLINGS)
def test_spellings_of_an_address(host: str) -> None:
    expected = SPELLINGS[host]
    try:
        found = literal_address(host)
    except ValueError:
        found = None
    if expected is not None:
        assert found is not None
        assert ip_address(found) == ip_address(expected)
    assert is_public_host(host) is (expected == "1.1.1.1")


@pytest.mark.parametrize("host", BROKEN)
def test_what_ends_in_a_number_and_is_no_address_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match=r"no IPv4 address|does not appear"):
        literal_address(host)
    assert not is_public_host(host)


@pytest.mark.parametrize("host", INNER)
def test_names_of_ones_own_network(host: str) -> None:
    assert is_inner_name(host)
    assert not is_public_host(host)


@pytest.mark.parametrize(
    "host", ["example.org", "upload.wikimedia.org", "xn--bcher-kva.example", "local.example.org", "notlocalhost.org"]
)
def test_names_that_may_be_public(host: str) -> None:
    assert literal_address(host) is None
    assert is_public_host(host)
