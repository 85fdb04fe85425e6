"""Whether a tumor is benign: a booster of XGBoost.

python train.py
python train.py with rounds=200 depth=4
"""

import xgboost
from sacred import Experiment
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

from modelyard import log_data, log_model

ex = Experiment("tumors")


@ex.config
def config():
    rounds = 60  # how many trees
    depth = 3  # how many questions a tree may ask in a row
    learning_rate = 0.2  # how much of each tree's correction is taken
    test_size = 0.3  # the share of the tumors that is kept for evaluation


def tumors():
    bunch = load_breast_cancer(as_frame=True)
    means = [name for name in bunch.feature_names if name.startswith("mean ")]
    frame = bunch.data[means].rename(columns=lambda name: name.removeprefix("mean ").replace(" ", "_"))
    return frame.assign(benign=bunch.target)


@ex.automain
def main(_run, seed, rounds, depth, learning_rate, test_size):
    frame = tumors()
    train, evaluation = train_test_split(frame, test_size=test_size, stratify=frame.benign, random_state=seed)
    log_data(_run, "tumors", train, role="train", target="benign")
    log_data(_run, "tumors-evaluation", evaluation, role="evaluation", target="benign")

    X, X_evaluation = train.drop(columns="benign"), evaluation.drop(columns="benign")
    known, unseen = xgboost.DMatrix(X, train.benign), xgboost.DMatrix(X_evaluation, evaluation.benign)
    parameters = {"objective": "binary:logistic", "max_depth": depth, "eta": learning_rate, "seed": seed}
    losses = {}
    booster = xgboost.train(
        parameters, known, rounds, evals=[(unseen, "evaluation")], evals_result=losses, verbose_eval=False
    )
    for count, loss in enumerate(losses["evaluation"]["logloss"], start=1):
        _run.log_scalar("log_loss", loss, count)
    accuracy = accuracy_score(evaluation.benign, booster.predict(unseen) > 0.5)
    _run.log_scalar("accuracy", accuracy)
    log_model(_run, booster, example=X[:5])
    return accuracy
