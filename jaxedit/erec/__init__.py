"""ERec, editing by reconstruction: a second decoding path finds what an edit has to keep."""
