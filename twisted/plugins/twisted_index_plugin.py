"""
Offer ``simpleindex`` to twistd and twist.

Frozen: the file name, the variable and the tapname never change, and nothing but
Twisted is imported here. Discovery reads this file on every twistd run of the
environment, so an error here would show in every one of them.
"""

from twisted.application.service import ServiceMaker

twisted_index = ServiceMaker(
    "twisted-index",
    "twisted_index.tap",
    "A Python package index served from a folder of wheels and sdists.",
    "simpleindex",
)
