"""Plain data -> tables and bars for a terminal."""
