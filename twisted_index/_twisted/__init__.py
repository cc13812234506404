"""The private and undocumented names of Twisted that this package relies on; no other module uses one."""
