"""The page and what belongs to it: files of the package, read once at the start."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from twisted.web.resource import Resource

__all__ = ["ASSETS", "Asset", "assets"]

ASSETS: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""File and type, by path."""


class Asset(Resource):
    """One file."""

    isLeaf = True

    def __init__(self, content: bytes, content_type: str) -> None:
        super().__init__()
        self._content = content
        self._type = content_type

    def render(self, request: Any) -> bytes:
        """The file."""
        request.setHeader("Content-Type", self._type)
        return self._content


def assets() -> dict[str, Resource]:
    """A resource for each path."""
    folder = files(__package__) / "assets"
    return {
        path: Asset((folder / name).read_bytes(), content_type)
        for path, (name, content_type) in ASSETS.items()
    }
