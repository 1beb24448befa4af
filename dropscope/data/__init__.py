"""Tables that come with dropscope, each with the schema that makes it a fair study, and tables that are fetched."""

from dropscope.data.split import Split
from dropscope.data.tables import Bundled, bundled, names
from dropscope.data.uci_published import UciResults, uci_results
from dropscope.data.uci_tables import uci

__all__ = ["Bundled", "Split", "UciResults", "bundled", "names", "uci", "uci_results"]
