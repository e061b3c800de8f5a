"""Selection methods, one file each, and the selectors. A YAML in conf/method names the class."""
