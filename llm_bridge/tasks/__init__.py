"""Questions in words: how a problem is asked, how an answer is read, and how it is graded."""
