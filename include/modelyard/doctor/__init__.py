"""``modelyard doctor``: is everything that a pipeline needs there, and does it let this machine in?

One module looks at one thing and tells what it found as :class:`~modelyard.doctor.finding.Finding`; all of them leave
what they look at as it was.
"""
