"""Read run folders; make tables and figures."""
