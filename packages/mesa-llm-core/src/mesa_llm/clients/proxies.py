"""Which proxy stands before an address, by the environment variables that everybody uses."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from mesa_llm.clients.addresses import http_parts
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import masked_address


def proxy_from_environment(url: str) -> str | None:
    """The proxy that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` give for a URL, `None` for none.

    In small letters too; on macOS and Windows the system's settings count where no variable is set. The loopback is
    never reached through a proxy, whatever they say.

    Raises:
        ConfigurationError: if it is none that can be used.
    """
    import urllib.request  # noqa: PLC0415 - slow to import

    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return None
    return checked_proxy(proxy if "://" in proxy else f"http://{proxy}")


def checked_proxy(proxy: str) -> str:
    """Return the proxy's URL if it can be used.

    Raises:
        ConfigurationError: if it is no HTTP proxy.
    """
    if http_parts(proxy) is None:
        raise ConfigurationError(
            "A proxy must be an http or https URL, e.g. 'http://proxy.example:3128', got "
            f"{masked_address(proxy)!r}. For SOCKS, put a bridge such as privoxy before it, or add the address to "
            "NO_PROXY."
        )
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
