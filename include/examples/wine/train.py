"""Which cultivar a wine comes from: a plain Sacred experiment, with one call that saves the model.

python train.py                            # works without any server
python train.py with C=0.1 test_size=0.4
"""

from sacred import Experiment
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard import log_data, log_model

ex = Experiment("wine")


@ex.config
def config():
    C = 1.0  # how little the weights are held back: small values make a simpler model
    test_size = 0.3  # the share of the wines that is kept for evaluation


def wines():
    bunch = load_wine(as_frame=True)
    frame = bunch.data.rename(columns={"od280/od315_of_diluted_wines": "od280_od315"})
    return frame.assign(cultivar=bunch.target.map(dict(enumerate(map(str, bunch.target_names)))))


@ex.automain
def main(_run, seed, C, test_size):
    frame = wines()
    train, evaluation = train_test_split(frame, test_size=test_size, stratify=frame.cultivar, random_state=seed)
    log_data(_run, "wines", train, role="train", target="cultivar")
    log_data(_run, "wines-evaluation", evaluation, role="evaluation", target="cultivar")

    X, y = train.drop(columns="cultivar"), train.cultivar
    X_evaluation, y_evaluation = evaluation.drop(columns="cultivar"), evaluation.cultivar

    # The scaler is part of the model: whoever asks the service sends the analysis as the laboratory wrote it.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C))
    for rows in range(20, len(X), 20):  # a learning curve: would more wines help?
        model.fit(X[:rows], y[:rows])
        _run.log_scalar("learning_curve.accuracy", accuracy_score(y_evaluation, model.predict(X_evaluation)), rows)

    model.fit(X, y)
    accuracy = accuracy_score(y_evaluation, model.predict(X_evaluation))
    _run.log_scalar("accuracy", accuracy)
    _run.log_scalar("log_loss", log_loss(y_evaluation, model.predict_proba(X_evaluation)))
    log_model(_run, model, example=X[:5], training=X)
    return accuracy
