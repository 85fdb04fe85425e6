"""The network: in a module of its own, from which training and service import it."""

import torch


class Digits(torch.nn.Module):
    """A picture's pixels in, the digit and the probability of each out."""

    task, classes = "classification", list(range(10))

    def __init__(self, pixels, hidden):
        super().__init__()
        self.pixels, self.hidden = pixels, hidden  # kept, as it is built again with these
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(pixels, hidden), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(hidden, 10)
        )

    def scores(self, pictures):
        return self.layers(pictures / 16)

    def forward(self, pictures):
        probability = torch.softmax(self.scores(pictures), dim=1)
        return {"prediction": probability.argmax(dim=1), "probability": probability}
