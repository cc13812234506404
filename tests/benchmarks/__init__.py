"""Figures of this server beside other servers, taken in one run; see docs/benchmarks.md."""
