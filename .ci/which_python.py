"""Print this Python's kind, such as "3.13t", and its path; fail where it is too old or cannot make environments."""

import ensurepip  # noqa: F401 - whether it is there is the question
import sys
import sysconfig
import venv  # noqa: F401 - whether it is there is the question

if sys.version_info < (3, 11) or sys.implementation.name != "cpython" or sys.version_info.releaselevel != "final":
    sys.exit(1)
free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(f"{sys.version_info[0]}.{sys.version_info[1]}{free_threaded} {sys.executable}")
