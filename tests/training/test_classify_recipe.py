from __future__ import annotations

from charrnn.config import ModelConfig
from charrnn.training.classify_recipe import FEW, MANY, MOST_PASSES, SEVERAL, SMALLEST, USUAL, both_ways, plan


def test_more_characters_than_the_time_is_enough_for_get_a_smaller_network() -> None:
    sizes = [plan({}, {}, [50] * texts, [texts // 2] * 2, 180.0).hidden_size for texts in (4_000, 15_000, 10_000_000)]
    assert sizes[0] == USUAL > sizes[1] > sizes[2] == SMALLEST
    assert plan({}, {}, [50] * 10_000_000, [5, 5], None).hidden_size == USUAL
    both = plan({}, {}, [50] * 12_000, [5, 5], 180.0, bidirectional=True).hidden_size
    assert both < plan({}, {}, [50] * 12_000, [5, 5], 180.0).hidden_size


def test_a_slow_machine_gets_a_smaller_network() -> None:
    sizes = [
        plan({}, {}, [40] * 12_000, [6_000] * 2, 180.0, speed).hidden_size for speed in (100_000.0, 45_000.0, 36_000.0, 1e3)
    ]
    assert sizes[0] == USUAL > sizes[1] > sizes[2] > sizes[3] == SMALLEST
    assert plan({"hidden_size": 300}, {}, [40] * 12_000, [6_000] * 2, 180.0, 1e3).hidden_size == 300
    # Measured was what both directions cost together; fewer passes are enough for two.
    both = [
        plan({}, {}, [40] * 12_000, [6_000] * 2, 180.0, 45_000.0, bidirectional=value).hidden_size for value in (True, False)
    ]
    assert both[1] < both[0] <= both[1] + 64


def test_a_second_network_reads_backwards_where_there_are_texts_and_time_enough() -> None:
    assert both_ways(600_000, 12_000, 180.0, 100_000.0)
    assert both_ways(10**9, 12_000, None)
    assert not both_ways(600_000, 12_000, 90.0, 100_000.0)
    assert not both_ways(600_000, 12_000, 180.0, 60_000.0)
    assert not both_ways(600_000, 12_000, 180.0)
    assert [both_ways(30 * texts, texts, None) for texts in (SEVERAL - 1, SEVERAL, MANY - 1, MANY)] == [
        False,
        True,
        True,
        False,
    ]
    assert not both_ways(19 * SEVERAL, SEVERAL, None)  # names


def test_few_texts_get_more_dropout_and_smaller_batches() -> None:
    few, many = (plan({}, {}, [30] * texts, [texts // 2] * 2, 180.0) for texts in (FEW - 1, 50_000))
    assert few.dropout > many.dropout
    assert few.batch_size < many.batch_size
    assert few.hidden_size < USUAL
    assert few.epochs > many.epochs == MOST_PASSES
    sizes = [plan({}, {}, [30] * texts, [texts // 2] * 2, None).batch_size for texts in (SEVERAL - 1, SEVERAL)]
    assert sizes == sorted(set(sizes))


def test_a_teacher_and_splices_are_for_few_texts() -> None:
    few, more = (plan({}, {}, [30] * texts, [texts // 2] * 2, 180.0) for texts in (FEW - 1, FEW))
    assert few.splices > 0 < few.teaching
    assert (more.splices, more.teaching) == (0, 0)


def test_labels_are_balanced_where_some_are_rare() -> None:
    assert plan({}, {}, [9] * 100, [50, 50], 180.0).balance == 0
    assert 0 < plan({}, {}, [9] * 100, [99, 1], 180.0).balance < 1


def test_what_is_given_stays() -> None:
    given = plan({"hidden_size": 7}, {"lr": 0.5, "dropout": 0.0, "batch_size": 3, "seed": 9}, [9] * 100, [50, 50], 180.0)
    assert (given.hidden_size, given.lr, given.dropout, given.batch_size, given.seed) == (7, 0.5, 0.0, 3, 9)


def test_a_trained_network_keeps_its_size_and_learns_more_slowly() -> None:
    trained = plan({}, {}, [9] * 100, [50, 50], 180.0, trained=ModelConfig(9, hidden_size=70, embedding_size=5))
    assert (trained.hidden_size, trained.embedding_size) == (70, 5)
    assert trained.lr < plan({}, {}, [9] * 100, [50, 50], 180.0).lr


def test_a_network_without_gates_learns_more_slowly() -> None:
    rates = {cell: plan({"cell": cell}, {}, [20] * 4000, [2000] * 2, 60.0).lr for cell in ("lstm", "gru", "rnn")}
    assert rates["rnn"] < rates["gru"] == rates["lstm"]
