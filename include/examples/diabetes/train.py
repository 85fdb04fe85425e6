"""How far diabetes progresses in a year: a booster of LightGBM, which stops when more trees no longer help.

python train.py
python train.py with learning_rate=0.02
"""

import lightgbm
from sacred import Experiment
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from modelyard import log_data, log_model

ex = Experiment("diabetes")


@ex.config
def config():
    rounds = 500  # the most trees there may be
    patience = 20  # after how many trees without improvement it stops
    learning_rate = 0.05  # how much of each tree's correction is taken
    leaves = 7  # how many answers a tree may give
    test_size = 0.3  # the share of the patients that is kept for evaluation


@ex.automain
def main(_run, seed, rounds, patience, learning_rate, leaves, test_size):
    bunch = load_diabetes(as_frame=True, scaled=False)
    frame = bunch.frame.rename(columns={"target": "progression"})
    train, evaluation = train_test_split(frame, test_size=test_size, random_state=seed)
    log_data(_run, "patients", train, role="train", target="progression")
    log_data(_run, "patients-evaluation", evaluation, role="evaluation", target="progression")

    X = train.drop(columns="progression")
    known = lightgbm.Dataset(X, train.progression)
    unseen = known.create_valid(evaluation.drop(columns="progression"), evaluation.progression)
    parameters = {
        "objective": "regression",
        "metric": "rmse",
        "learning_rate": learning_rate,
        "num_leaves": leaves,
        "seed": seed,
        "deterministic": True,
        "verbose": -1,
    }
    errors = {}
    stop = lightgbm.early_stopping(patience, verbose=False)
    callbacks = [stop, lightgbm.record_evaluation(errors)]
    booster = lightgbm.train(parameters, known, rounds, valid_sets=[unseen], valid_names=["new"], callbacks=callbacks)
    for count, error in enumerate(errors["new"]["rmse"], start=1):
        _run.log_scalar("rmse", error, count)
    log_model(_run, booster, example=X[:5])
    return booster.best_score["new"]["rmse"]
