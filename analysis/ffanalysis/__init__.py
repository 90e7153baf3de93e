"""Read run folders; make tables, pictures and a page."""
