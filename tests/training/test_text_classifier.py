from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn.analysis.judge import Judge
from charrnn.classifier_config import FEATURES, ClassifierConfig
from charrnn.config import GATES, ModelConfig
from charrnn.network.classifier import Classifier, parameter_shapes
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.classify import padded
from charrnn.training.text_classifier import TextClassifier, exported, part

VOCABULARY = Vocabulary("char", "\nabcdefghijklmnopqrstuvwxyz")
TEXTS = ["a", "what", "wake me up", "thanks a lot friend"]


def network(cell: str = "lstm", features: tuple[str, ...] = FEATURES, layers: int = 1, **config: object) -> TextClassifier:
    model = ModelConfig(VOCABULARY.size, cell, 6, layers, 3)
    made = TextClassifier(model, ClassifierConfig(**config), features, 3, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.heads.parameters():
            parameter.normal_(generator=generator)
    return made


def batch(texts: list[str], more: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    ids, lengths = padded([VOCABULARY.encode(f"\n{text}\n") for text in texts])
    return torch.cat([ids, torch.full((len(ids), more), 5)], 1), lengths


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", list(GATES))
def test_no_logit_and_no_gradient_depends_on_padding(cell: str, bidirectional: bool) -> None:
    made = network(cell, bidirectional=bidirectional)
    parameters = made.learned(characters=True)

    def learned(texts: list[str], labels: list[int], more: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        ids, lengths = batch(texts, more)
        targets = torch.zeros_like(ids)
        targets[:, 0], targets[:, 1] = torch.tensor(labels), lengths
        masks = [
            torch.ones(len(texts), 1, 3),
            torch.ones(len(texts), 1, 24),
            torch.ones(len(texts), 1, 5),
            torch.zeros(len(texts), 1, 4),
        ]
        state = torch.zeros(1, 1, len(texts), 1)
        found = part(made, torch.ones(3), parameters, ids, targets, state, masks, len(TEXTS), precision="fp32")
        return found[0], list(found[2])

    loss, gradients = learned(TEXTS, [0, 1, 2, 1], 7)
    alone = [learned([text], [label], 0) for text, label in zip(TEXTS, [0, 1, 2, 1], strict=True)]
    assert sum(one[0] for one in alone).item() == pytest.approx(loss.item(), abs=1e-5)
    for number, gradient in enumerate(gradients):
        assert torch.allclose(sum(one[1][number] for one in alone), gradient, atol=1e-5)  # type: ignore[arg-type]
    assert sum(gradient.abs().sum() > 0 for gradient in gradients) == len(gradients)


@pytest.mark.parametrize("head_size", [None, 4])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("cell", list(GATES))
def test_numpy_decides_what_torch_does(cell: str, feature: str, layers: int, head_size: int | None) -> None:
    made = network(cell, (feature,), layers, feature=feature, bidirectional=True, head_size=head_size)
    weights = exported(made.named(feature))
    model, config = made.forwards.config, made.config
    assert {name: value.shape for name, value in weights.items()} == parameter_shapes(model, config, 3)
    with torch.no_grad():
        ids, lengths = batch(TEXTS)
        (logits,) = made.logits(made.states(ids, lengths), lengths)
    judge = Judge(Classifier(model, VOCABULARY, config, ("a", "b", "c"), {}, weights))
    assert judge.probabilities(TEXTS) == pytest.approx(logits.softmax(1).numpy(), abs=1e-5)


def test_all_labels_are_equally_likely_at_the_start() -> None:
    for head_size in (None, 4):
        config = ClassifierConfig(head_size=head_size)
        made = TextClassifier(ModelConfig(5, "lstm", 4, 1, 3), config, ("last",), 3, torch.Generator().manual_seed(0))
        ids, lengths = torch.ones(2, 4, dtype=torch.int64), torch.tensor([4, 2])
        assert not made.logits(made.states(ids, lengths), lengths)[0].any()


def test_texts_stand_side_by_side_with_zeros_behind_them() -> None:
    ids, lengths = padded([np.array([3, 1, 2]), np.array([5])])
    assert ids.tolist() == [[3, 1, 2], [5, 0, 0]]
    assert lengths.tolist() == [3, 1]
