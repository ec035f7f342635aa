"""Where concrete classes are named and put together; everything else knows them by their ports."""
