"""The behaviour that every engine promises, on PostgreSQL. The tests are those of the unit suites."""

from test_datastore_model import *  # noqa: F403
from test_datastore_suite import *  # noqa: F403
from test_datastore_transactions import *  # noqa: F403
