"""Many dies × many settings: trials, their store, intervals, tables and searches."""
