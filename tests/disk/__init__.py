"""A disk that fails: faults in system calls, small file systems, killed writers.

The long form of the kills: ``python -m tests.disk 3000``.
"""
