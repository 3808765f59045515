"""One file a change of the tables, in order; a store of any age goes through those that it has not seen."""
