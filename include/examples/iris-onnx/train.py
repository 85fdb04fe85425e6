"""Which species an iris is of: any library that writes ONNX would do; here it is scikit-learn.

python train.py with C=0.1
"""

import json

import onnx
from sacred import Experiment
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard import log_data, log_model

ex = Experiment("iris-onnx")


@ex.config
def config():
    C = 1.0  # how little the weights are held back: small values make a simpler model
    test_size = 0.3  # the share of the irises that is kept for evaluation


def irises():
    bunch = load_iris(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    return frame.assign(species=bunch.target.map(dict(enumerate(map(str, bunch.target_names)))))


@ex.automain
def main(_run, seed, C, test_size):
    frame = irises()
    train, evaluation = train_test_split(frame, test_size=test_size, stratify=frame.species, random_state=seed)
    log_data(_run, "irises", train, role="train", target="species")
    log_data(_run, "irises-evaluation", evaluation, role="evaluation", target="species")

    X = train.drop(columns="species")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=C)).fit(X.to_numpy("float32"), train.species)
    _run.log_scalar("accuracy", classifier.score(evaluation[X.columns].to_numpy("float32"), evaluation.species))

    model = to_onnx(classifier, X[:1].to_numpy("float32"), name="iris", options={"zipmap": False}, target_opset=17)
    # The graph does not say in which order its probabilities come.
    onnx.helper.set_model_props(model, {"classes": json.dumps(classifier.classes_.tolist())})
    log_model(_run, model, example=X[:5])
