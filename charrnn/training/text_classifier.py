"""The network that classifies texts, in torch: a `CharRNN` that reads forwards, perhaps one that reads backwards, and heads.

Texts stand side by side, padded behind their ends; what stands there changes nothing. Shapes: N texts, T characters, F numbers
of a feature, C labels, R features that are tried beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from charrnn.classifier_config import ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.network.classifier import feature_size, reading_shapes, reverse
from charrnn.training.device import autocast
from charrnn.training.model import CharRNN, Linear
from charrnn.training.processes import Part

IGNORED = -100
"""The next character that padding has."""


class TextClassifier(nn.Module):
    """Reads texts and gives the logits of their labels, one head for each of ``features``."""

    def __init__(
        self, model: ModelConfig, config: ClassifierConfig, features: Sequence[str], labels: int, generator: torch.Generator
    ) -> None:
        """Draw fresh weights from ``generator``."""
        super().__init__()
        self.config, self.features = config, tuple(features)
        self.forwards = CharRNN(model, generator)
        self.backwards = CharRNN(replace(model, pair_keys=()), generator) if config.bidirectional else None
        sizes = [feature_size(model, replace(config, feature=feature)) for feature in features]
        self.heads = nn.ModuleList(_head(size, config.head_size, labels, generator) for size in sizes)

    def named(self, feature: str) -> dict[str, nn.Parameter]:
        """The parameters of a classifier by ``feature``, by the names of `classifier.parameter_shapes`, in its order."""
        found = self.forwards.weights()
        named = {name: found[name] for name in reading_shapes(self.forwards.config)}
        if self.backwards is not None:
            back = self.backwards.weights()
            named |= {reverse(name): back[name] for name in named if name.startswith("rnn.")}
        head = self.heads[self.features.index(feature)]
        return named | {f"head.{name}": parameter for name, parameter in head.named_parameters()}

    def learned(self, *, characters: bool) -> list[nn.Parameter]:
        """Every parameter that is learned, each once; with those that predict ``characters``, where they do."""
        found = {id(value): value for feature in self.features for value in self.named(feature).values()}
        readers = [reader for reader in (self.forwards, self.backwards) if reader is not None]
        predicting = [value for reader in readers for value in reader.head.parameters()] if characters else []
        return [*found.values(), *predicting]

    def states(self, ids: Tensor, lengths: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The h (N, T, H) after each of ids (N, T), forwards and, if there is such a network, backwards from the text's end.

        ``mask`` (N, 1, E) multiplies the characters' vectors.
        """
        start = self.forwards.initial_state(len(ids))
        vectors = _masked(self.forwards.embed(ids, start), mask)
        found = [self.forwards.hidden(vectors, start)[0].float()]
        if self.backwards is not None:
            if self.forwards.config.pair_keys:  # Those are of texts that are read forwards.
                vectors = _masked(self.forwards.embedding(ids), mask)
            start = self.backwards.initial_state(len(ids))
            found.append(self.backwards.hidden(_turned(vectors, lengths), start)[0].float())
        return found

    def logits(self, states: Sequence[Tensor], lengths: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The logits (N, C) of each head, from `states` of texts with ``lengths`` (N,) and a ``mask`` of dropout (N, 2 F)."""
        size, found = states[0].shape[-1], list[Tensor]()
        pooled = {name: torch.cat([_pooled(name, h, lengths) for h in states], 1) for name in ("last", "mean", "max")}
        for feature, head in zip(self.features, self.heads, strict=True):
            inputs = torch.cat([pooled[name] for name in feature.split("+")], 1)
            found.append(head(inputs if mask is None else inputs * mask[:, : inputs.shape[1]]))
        assert size
        return found


def _head(size: int, hidden: int | None, labels: int, generator: torch.Generator) -> nn.Module:
    """A linear head, or one with a hidden layer; its last layer starts at zero, so that all labels are equally likely."""
    first = Linear(size, labels if hidden is None else hidden)
    with torch.no_grad():
        first.bias.zero_()
        if hidden is None:
            first.weight.zero_()
            return first
        first.weight.uniform_(-(bound := (3 / size) ** 0.5), bound, generator=generator)
        last = Linear(hidden, labels)
        last.weight.zero_()
        last.bias.zero_()
    return nn.Sequential(first, nn.Tanh(), last)


def _masked(vectors: Tensor, mask: Tensor | None) -> Tensor:
    return vectors if mask is None else vectors * mask


def _turned(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Texts (N, T, E) of ``lengths`` (N,), each from its end to its beginning; the padding stays behind."""
    places = lengths[:, None] - 1 - torch.arange(vectors.shape[1])  # (N, T)
    return vectors.gather(1, places.clamp(min=0)[:, :, None].expand_as(vectors))


def _pooled(feature: str, h: Tensor, lengths: Tensor) -> Tensor:
    """What is taken of h (N, T, H) of texts with ``lengths`` (N,): (N, H)."""
    if feature == "last":
        return h[torch.arange(len(h)), lengths - 1]
    inside = (torch.arange(h.shape[1]) < lengths[:, None])[:, :, None]  # (N, T, 1)
    if feature == "mean":
        return (h * inside).sum(1) / lengths[:, None]
    return h.masked_fill(~inside, -2.0).amax(1)  # below any h


# -- one share of a batch -----------------------------------------------------------------------------------------------


def part(
    network: TextClassifier,
    weights: Tensor,
    parameters: Sequence[nn.Parameter],
    inputs: Tensor,
    targets: Tensor,
    state: Tensor,
    masks: Sequence[Tensor] | None,
    total: int,
    *,
    precision: str,
) -> Part:
    """One worker's part of the loss of a batch, and of its gradients.

    Args:
        network: whose loss it is.
        weights: how much a text of each label counts, (C,).
        parameters: those that learn.
        inputs: padded ids, (n, T).
        targets: of each text its label and its length, then anything, (n, T).
        state: comes back as it is.
        masks: of the characters' vectors (n, 1, E) and of the features (n, 1, 2 F); how much each head's loss counts, and that
            of the next characters, (n, 1, R + 1); what a teacher says and how much it counts, (n, 1, C + 1).
        total: the texts in all shares.
        precision: of the matrix products.
    """
    assert masks is not None
    labels, lengths, shares = targets[:, 0], targets[:, 1], masks[2][0, 0]
    with autocast(inputs.device, precision):
        states = network.states(inputs, lengths, masks[0])
        logits = network.logits(states, lengths, masks[1][:, 0]) if shares[:-1].any() else []
    taught, counts = masks[3][:, 0, :-1], masks[3][:, 0, -1:]
    wanted = counts * taught + (1 - counts) * functional.one_hot(labels, len(weights))  # (n, C)
    loss = torch.zeros(())
    for one, share in zip(logits, shares, strict=False):
        if share:
            losses = -one.float().log_softmax(1) * weights  # (n, C)
            loss = loss + share * (losses * wanted).sum() / total
    if shares[-1]:
        loss = loss + shares[-1] * _foretelling(network, inputs, lengths, states, precision) / total
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
    return loss.detach(), state, [gradient.contiguous() for gradient in gradients]


def _foretelling(network: TextClassifier, ids: Tensor, lengths: Tensor, states: Sequence[Tensor], precision: str) -> Tensor:
    """The sum over texts of the mean nats of the next character, forwards and backwards."""
    readers = [network.forwards] if network.backwards is None else [network.forwards, network.backwards]
    sides = [ids] if network.backwards is None else [ids, _turned(ids[:, :, None], lengths)[:, :, 0]]
    loss = torch.zeros(())
    behind = torch.arange(1, ids.shape[1]) >= lengths[:, None]
    for reader, side, h in zip(readers, sides, states, strict=True):
        with autocast(ids.device, precision):
            logits = reader.head(h[:, :-1])
        following = side[:, 1:].masked_fill(behind, IGNORED)
        nats = functional.cross_entropy(
            logits.float().flatten(0, 1), following.flatten(), ignore_index=IGNORED, reduction="none"
        )
        loss = loss + (nats.view(following.shape).sum(1) / (lengths - 1)).sum()
    return loss


def exported(named: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """A float32 NumPy copy of each weight."""
    return {name: value.detach().to("cpu", torch.float32, copy=True).numpy() for name, value in named.items()}


@torch.no_grad()
def loaded(named: Mapping[str, Tensor], weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy ``weights`` into the parameters of the same names."""
    for name, value in weights.items():
        named[name].copy_(torch.from_numpy(np.array(value)))
