"""Which addresses images may be fetched from: public ones, and those that the server's settings list."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from maskbridge.adapter.errors import SettingsError
from maskbridge.labelstudio.errors import TaskImageError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, from the system's resolver.

    Raises:
        TaskImageError: the host cannot be resolved.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TaskImageError("connection", f"the host {host} cannot be resolved") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


@dataclass(frozen=True)
class AddressFilter:
    """Resolves a host to addresses that may be connected to.

    A host is resolved once, and the addresses that are checked are the ones that are connected to: a DNS answer that
    changes in between has no effect.

    Attributes:
        allowed_hosts: names, addresses or networks (``10.1.0.0/16``) that are allowed although they are not public.
        resolver: returns the addresses of (host, port).
    """

    allowed_hosts: Sequence[str] = ()
    resolver: Callable[[str, int], Sequence[str]] = resolve
    _names: frozenset[str] = field(init=False)
    _networks: tuple[Network, ...] = field(init=False)

    def __post_init__(self) -> None:
        networks, names = [], set()
        for entry in self.allowed_hosts:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if "/" in entry or ":" in entry:
                    raise SettingsError(
                        f"allowed host {entry!r} is neither a name, an address nor a network such as 10.1.0.0/16"
                    ) from None
                names.add(entry.lower().rstrip("."))
        object.__setattr__(self, "_networks", tuple(networks))
        object.__setattr__(self, "_names", frozenset(names))

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of them allowed.

        Raises:
            TaskImageError: the host has no address, or one that is neither public nor listed.
        """
        addresses = list(self.resolver(host, port))
        refused = [text for text in addresses if not self._allows(host, text)]
        if refused or not addresses:
            raise TaskImageError(
                "address",
                f"the host {host} is at {', '.join(refused) or 'no address'}, which is not public: images are fetched from "
                "there only if MASKBRIDGE_ALLOWED_HOSTS lists it",
            )
        return addresses

    def _allows(self, host: str, text: str) -> bool:
        if host.lower().rstrip(".") in self._names:
            return True
        address = ipaddress.ip_address(text.partition("%")[0])
        listed = any(address.version == network.version and address in network for network in self._networks)
        return listed or is_public(address)


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet. An IPv4 address embedded in an IPv6 address must be public too.

    Example:
        >>> [is_public(ipaddress.ip_address(text)) for text in ("93.184.215.14", "169.254.169.254", "::ffff:127.0.0.1")]
        [True, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64 or address.packed[:12] == bytes(12):
            embedded.append(ipaddress.IPv4Address(address.packed[12:]))
        if any(inner is not None and not is_public(inner) for inner in embedded):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast
