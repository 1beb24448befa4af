"""The trackers are told of the studies made of formulas that the report's tests use."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "report"))
