"""WHAT NEXT: the coach that walks rate -> batch -> epochs -> seeds, the race between runs, and the worker that trains them."""
