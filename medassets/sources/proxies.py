"""The proxy that the environment puts between this machine and a hub."""

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def find_proxy(url: str) -> str:
    """Return the proxy for a URL and the variable that names it, without login; empty if none.

    Args:
        url: Address that is asked for.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    proxies = getproxies()
    for kind in (parts.scheme, "all"):
        if proxies.get(kind):
            return f"{_hide_login(proxies[kind])} ({_name_variable(kind)})"
    return ""


def _hide_login(proxy: str) -> str:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _name_variable(kind: str) -> str:
    name = f"{kind}_proxy"
    return next((n for n in (name, name.upper()) if os.environ.get(n)), "settings of the system")
