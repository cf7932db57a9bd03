"""ERec, editing by reconstruction: a second path beside the edit that tells what to keep."""
