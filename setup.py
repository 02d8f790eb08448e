"""Build script: the metadata stands in setup.cfg; here is only what that cannot say."""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.sdist import sdist


class CompleteSdist(sdist):
    """A source distribution with its tests and documentation, so that it can be tested without the repository."""

    def make_distribution(self) -> None:
        """Add the folders that setuptools leaves out."""
        for folder in ("docs", "tests"):
            found = (path for path in Path(folder).rglob("*") if path.is_file())
            self.filelist.extend(str(path) for path in found if not {"_build", "__pycache__"} & set(path.parts))
        self.filelist.extend(str(path) for path in Path().glob("*.md"))
        self.filelist.sort()
        self.filelist.remove_duplicates()
        super().make_distribution()


def extensions() -> list[Extension]:
    """Return the fast path, which is left out where it cannot be built, or RETRYWRAP_PURE is set."""
    if os.environ.get("RETRYWRAP_PURE", "0") not in ("", "0"):
        return []
    folder = "retrywrap/run"
    sources = [f"{folder}/_fast.c", f"{folder}/_failure.c"]
    return [Extension("retrywrap.run._fast", sources, depends=[f"{folder}/_fast.h"], optional=True)]


setup(cmdclass={"sdist": CompleteSdist}, ext_modules=extensions())
