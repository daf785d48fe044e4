"""Getting into a run: the doors that are known, arriving, who knocks when nobody answers, and runs that have ended."""
