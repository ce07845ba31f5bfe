"""The version of the package, and how its requests introduce themselves."""

__version__ = "0.1.0"

USER_AGENT = f"jina-clip-integrations/{__version__}"
"""The `User-Agent` of every request made here: to the service, and for images by URL."""
