"""Print the command that README.md gives under a name: the one line of the block after ``<!-- command: NAME -->``."""

import re
import sys
from pathlib import Path

name = sys.argv[1]
text = Path("README.md").read_text("utf-8")
found = re.findall(rf"<!-- command: {re.escape(name)} -->\n+```sh\n([^\n]+)\n```", text)
if len(found) != 1:
    sys.exit(f"README.md must hold exactly one one-line command marked {name!r}; found {len(found)}")
print(found[0])
