import sys

from petl_study.cli import main

sys.exit(main())
