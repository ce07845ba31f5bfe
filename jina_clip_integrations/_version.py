"""The version of the package, and how its requests introduce themselves."""

__version__ = "0.1.0"

USER_AGENT = f"jina-clip-integrations/{__version__}"
"""The `User-Agent` of every request to a service."""

CONTACT_USER_AGENT = f"{USER_AGENT} (+https://github.com/jina-clip-integrations/jina-clip-integrations)"
"""The same with an address, as hosts of images ask of programs (Wikimedia refuses others)."""
