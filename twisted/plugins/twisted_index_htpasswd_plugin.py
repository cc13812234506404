"""
Offer ``htpasswd:FILE`` to every Twisted server with ``--auth``.

Frozen like the plugin beside it: discovery reads this file in every program that asks for
checkers, so nothing but Twisted and zope is imported before a checker is wanted.
"""

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(ICheckerFactory, IPlugin)
class HtpasswdCheckerFactory:
    """Makes checkers of the passwords in an htpasswd file."""

    authType = "htpasswd"
    authHelp = """
    Users of a file that Apache's htpasswd writes, read again when it changes.
    The hashes may be bcrypt (htpasswd -B), apr1, SHA-crypt, {SHA} and {SSHA}.
    """
    argStringFormat = "Location of an htpasswd file."
    credentialInterfaces = (IUsernamePassword,)

    def generateChecker(self, argstring):
        """Make a checker for a file."""
        from twisted_index.access.htpasswd import HtpasswdPlugin

        if not argstring.strip():
            raise ValueError("htpasswd requires a filename")
        return HtpasswdPlugin(argstring)


htpasswd_checker_factory = HtpasswdCheckerFactory()
