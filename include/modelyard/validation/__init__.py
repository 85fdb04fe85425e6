"""What stands between a trained model and its release: data suites, metrics, gates, critical predictions, a report.

Project code and model files are never loaded here: a model is asked through the process or server that has loaded it,
and expectation suites, which may hold expressions that are evaluated, are run in a child without credentials.
"""
