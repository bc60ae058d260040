"""``python -m sessioncore``."""

import sys

from sessioncore.cli import main

sys.exit(main())
