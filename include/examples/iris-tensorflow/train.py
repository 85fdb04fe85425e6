"""Which species an iris is of: a small network of TensorFlow, kept as a SavedModel.

python train.py
python train.py with hidden=32 steps=400
"""

import tempfile

import numpy as np
import tensorflow as tf
from sacred import Experiment
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from modelyard import log_data, log_model

ex = Experiment("iris-tensorflow")


@ex.config
def config():
    hidden = 16  # neurons between the leaves and the species
    steps = 300  # how often all weights are corrected
    rate = 0.02  # how much at a time
    test_size = 0.3  # the share of the irises that is kept for evaluation


def irises():
    bunch = load_iris(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    return frame.assign(species=bunch.target.map(dict(enumerate(map(str, bunch.target_names)))))


class Irises(tf.Module):
    """Answers the species of leaves, and how likely each is."""

    def __init__(self, X, species, hidden):
        self.mean, self.spread = tf.constant(X.mean(axis=0)), tf.constant(X.std(axis=0))
        self.species = tf.constant(species)
        sizes = [(X.shape[1], hidden), (hidden, len(species))]
        self.layers = [
            (tf.Variable(tf.random.normal(size, stddev=size[0] ** -0.5)), tf.Variable(tf.zeros(size[1])))
            for size in sizes
        ]

    def logits(self, X):
        (weights, bias), (last, last_bias) = self.layers
        return tf.nn.tanh((X - self.mean) / self.spread @ weights + bias) @ last + last_bias

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "leaves")])
    def predict(self, leaves):
        logits = self.logits(leaves)
        return {
            "prediction": tf.gather(self.species, tf.argmax(logits, axis=1)),
            "probability": tf.nn.softmax(logits),
        }


@ex.automain
def main(_run, seed, hidden, steps, rate, test_size):
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    frame = irises()
    train, evaluation = train_test_split(frame, test_size=test_size, stratify=frame.species, random_state=seed)
    log_data(_run, "irises", train, role="train", target="species")
    log_data(_run, "irises-evaluation", evaluation, role="evaluation", target="species")

    X, unseen = (part.drop(columns="species") for part in (train, evaluation))
    species, y = np.unique(train.species, return_inverse=True)
    model = Irises(X.to_numpy(np.float32), species.tolist(), hidden)
    optimizer = tf.keras.optimizers.Adam(rate)
    leaves = tf.constant(X.to_numpy(np.float32))
    for step in range(steps):
        with tf.GradientTape() as tape:
            wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model.logits(leaves))
            loss = tf.reduce_mean(wrong)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        if step % 20 == 0:
            _run.log_scalar("loss", float(loss), step)
    found = model.predict(tf.constant(unseen.to_numpy(np.float32)))["prediction"].numpy().astype(str)
    _run.log_scalar("accuracy", float((found == evaluation.species).mean()), steps)

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures={"serving_default": model.predict})
        log_model(_run, folder, example=X[:5])
