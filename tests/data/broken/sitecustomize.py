"""Found on PYTHONPATH by one test: the help screen breaks."""

import sys
from importlib.abc import MetaPathFinder


class Broken(MetaPathFinder):
    """Fails where the help screen is imported."""

    def find_spec(self, fullname, path, target=None):
        if fullname == "tui.screens.help":
            raise ZeroDivisionError("secret local value")
        return None


sys.meta_path.insert(0, Broken())
