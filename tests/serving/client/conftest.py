"""The fixtures of servers, for the tests of this folder."""

from serving_fixtures import base, embed, server, versioned

__all__ = ["base", "embed", "server", "versioned"]
