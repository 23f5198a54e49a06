"""Wheels of a module each, which uv finds in a folder without an index."""

import zipfile
from collections.abc import Iterable
from pathlib import Path


def write(
    folder: Path, name: str, version: str, code: str = "", requires: Iterable[str] = (), tag: str = "py3-none-any"
):
    """Write the wheel of a distribution that has one module, of its name."""
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    wheel, info = folder / f"{module}-{version}-{tag}.whl", f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{module}.py", code)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel
