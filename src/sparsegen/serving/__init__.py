"""A local web page and its server: pictures in, objects to look at, edit and download."""
