"""Waiting and sharing work in Twisted: threads, single flight, deadlines, caches."""
