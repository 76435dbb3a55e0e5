"""`python -m sparsegen` is the `sparsegen` command."""

import sys

from sparsegen.cli.main import main

sys.exit(main())
