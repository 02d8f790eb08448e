"""What a folder holds, and how its files are opened without ever waiting for one that is no plain file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from io import BufferedIOBase
from typing import BinaryIO, NamedTuple

from retrywrap.record.logfile import escape

__all__ = ["BLOCK", "File", "Tree", "open_plain", "printable", "read_blocks", "scan"]

BLOCK = 1 << 20
"""Bytes that are read, sent and compared at a time."""

_MOST_FILES = 5_000
_MOST_BYTES = 2 << 30

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe without a writer would block the open for ever
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_KINDS = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "character device"),
    (stat.S_ISBLK, "block device"),
)


class File(NamedTuple):
    """A plain file.

    Attributes:
        name: Its path below the folder, parts separated by "/".
        size: Its bytes when it was looked at.
        readable: Whether the system says that we may read it.
    """

    name: str
    size: int
    readable: bool = True


class Tree:
    """What a folder holds.

    Attributes:
        root: The folder's path.
        source: The path of what is looked at: the folder, or the one file in it.
        files: The plain files, in the order of their names' bytes.
        folders: The folders below it.
        links: Symbolic links and what they say.
        special: What is no file, folder or link, and its kind.
        unreadable: What could not be looked into, and why.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.source = root
        self.files: list[File] = []
        self.folders: list[str] = []
        self.links: dict[str, str] = {}
        self.special: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size for file in self.files)

    @property
    def bare_folders(self) -> list[str]:
        """The folders in which, however deep, there is no file."""
        holding: set[str] = set()
        for file in self.files:
            above = file.name.rpartition("/")[0]
            while above and above not in holding:
                holding.add(above)
                above = above.rpartition("/")[0]
        return [folder for folder in self.folders if folder not in holding]

    def path(self, name: str) -> str:
        """Return the path of what bears a name in the tree."""
        return os.path.join(self.root, *name.split("/"))


def scan(path: str, *, leave_out: Collection[str] = ()) -> Tree:
    """Return what there is at a path: a folder, or one plain file, which then is alone in its tree.

    Args:
        path: The folder or file.
        leave_out: Folders of these names (their last part) are passed over.

    Raises:
        OSError: There is nothing, or it is neither folder nor plain file, or it cannot be read.
        ValueError: It is more than the demo can send in its time.
    """
    about = os.stat(path)
    if stat.S_ISREG(about.st_mode):
        root, name = os.path.split(os.path.realpath(path))
        tree = Tree(root)
        tree.source = tree.path(name)
        tree.files.append(_file(name, tree.source, about))
        _check_bytes(tree)
        return tree
    if not stat.S_ISDIR(about.st_mode):
        raise OSError(errno.EINVAL, f"it is a {_kind(about)}; a folder or a plain file is needed")
    tree = Tree(os.path.abspath(path))
    os.scandir(tree.root).close()  # the root must be readable; folders below it need not
    pending = [""]
    while pending:
        pending.extend(_look_into(tree, pending.pop(), leave_out))
        if len(tree.files) > _MOST_FILES or len(pending) > _MOST_FILES:
            raise ValueError(f"it holds more than {_MOST_FILES} files, too many for a demo; name a folder inside it")
    _check_bytes(tree)
    tree.files.sort(key=lambda file: os.fsencode(file.name))
    tree.folders.sort(key=os.fsencode)
    return tree


def _check_bytes(tree: Tree) -> None:
    if tree.bytes > _MOST_BYTES:
        raise ValueError(f"it holds {tree.bytes} bytes, and a demo takes no more than {_MOST_BYTES}; name less of it")


def _look_into(tree: Tree, folder: str, leave_out: Collection[str]) -> Iterator[str]:
    """Note what one folder holds; yield the folders in it."""
    try:
        with os.scandir(tree.path(folder)) as found:
            entries = list(found)
    except OSError as error:
        tree.unreadable[folder] = error.strerror or str(error)
        return
    for entry in entries:
        name = f"{folder}/{entry.name}" if folder else entry.name
        try:
            is_folder = _note(tree, name, entry)
        except OSError as error:
            tree.unreadable[name] = error.strerror or str(error)
            continue
        if is_folder and entry.name not in leave_out:
            tree.folders.append(name)
            yield name


def _note(tree: Tree, name: str, entry: os.DirEntry[str]) -> bool:
    """Note one entry; return whether it is a folder."""
    about = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(about.st_mode):
        return True
    if stat.S_ISREG(about.st_mode):
        tree.files.append(_file(name, entry.path, about))
    elif stat.S_ISLNK(about.st_mode):
        tree.links[name] = os.readlink(entry.path)
    else:
        tree.special[name] = _kind(about)
    return False


def _file(name: str, path: str, about: os.stat_result) -> File:
    return File(name, about.st_size, os.access(path, os.R_OK))


def _kind(about: os.stat_result) -> str:
    return next((kind for test, kind in _KINDS if test(about.st_mode)), "special file")


def open_plain(path: str) -> BinaryIO:
    """Open a plain file for reading, whatever has taken its name since it was looked at.

    Raises:
        OSError: It cannot be opened, or is no plain file any more.
    """
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file any more", path)
    return open(descriptor, "rb")


def read_blocks(file: BinaryIO | BufferedIOBase, size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file in blocks; fewer, where it ends before."""
    while size > 0:
        block = file.read(min(size, BLOCK))
        if not block:
            return
        size -= len(block)
        yield block


def printable(name: str) -> str:
    """Return a file's name as one harmless line: bytes that are no text, and control characters, as escapes."""
    return escape(os.fsencode(name).decode("utf-8", "backslashreplace"))
