"""readings: the encoding of a text is offered, with a word that its reader knows."""

from __future__ import annotations

import pytest

from charrnn.text.readings import EAST_ASIAN, LATIN, MOST, OTHERS, has_words, readings

SENTENCES = {
    "zażółć gęślą jaźń, są też łąki; śmiało": "cp1250 iso8859-2 cp852",
    "Příliš žlutý kůň úpěl dobré ódy, říkal že bude déle": "cp1250 iso8859-2",
    "Árvíztűrő tükörfúrógép, őszi fűben ülő öreg néni töri": "cp1250",
    "Işık hızla gökyüzünü aydınlattı, çocuklar güneşi şaşkın izledi": "cp1254",
    "Ąžuolas šlama žiemą, kūčių vakarą žvaigždės šviečia": "cp1257",
    "L’élève français était déjà à l’école, où ça? «voilà» Noël": "cp1252 mac-roman",
    "He said he’s fine, so don’t worry. It’s John’s, isn’t it? I’m on my way—ten minutes or so": "cp1252 mac-roman",
    "Die Größe der Bäume übertraf ihre Pläne, schön für Jürgen": "cp1252 cp850",
    "мороз и солнце; день чудесный, друг прелестный": "cp1251 koi8-r cp866",
    "МОРОЗ И СОЛНЦЕ ДЕНЬ ЧУДЕСНЫЙ": "cp1251 koi8-r",
    "η ψυχή του ανθρώπου είναι μέσα στον ήλιο": "cp1253",
    "שלום עולם היום יום יפה מאוד והשמש": "cp1255",
    "السلام عليكم ورحمة الله وبركاته": "cp1256",
    "吾輩は猫である。名前はまだ無い。": "shift_jis euc_jp",
    "学而时习之，不亦说乎？有朋自远方来": "gb18030",
    "學而時習之，不亦說乎？有朋自遠方來": "big5",
    "나랏말싸미 듕귁에 달아 문자와로": "euc_kr",
    "Wczoraj wieczorem poszliśmy z babcią na targ, żeby kupić świeże jabłka, trochę śliwek i chleb. Sprzedawca był miły, ale"
    " wszystko kosztowało więcej niż przed świętami, więc wróciliśmy do domu tylko z połową tego, co było na kartce.": "cp1250"
    " iso8859-2",
    "Včera večer jsme šli s babičkou na trh, abychom koupili čerstvá jablka, pár švestek a chleba. Prodavač byl milý, ale"
    " všechno stálo víc než před svátky, a tak jsme přišli domů jen s polovinou toho, co bylo na papíře.": "cp1250 iso8859-2",
    "Dün akşam büyükannemle çarşıya gittik, taze elma, biraz erik ve ekmek almak istiyorduk. Satıcı iyi bir adamdı, ama her şey"
    " bayramdan öncekinden daha pahalıydı, bu yüzden eve listedekilerin yarısıyla döndük.": "cp1254",
    "I går kväll gick vi med farmor till torget för att köpa äpplen, några plommon och bröd. Mannen var snäll, men allt var"
    " dyrare än före helgen, så vi kom hem med hälften av det som stod på lappen.": "cp1252 cp850",
    "Hier soir nous sommes allés au marché avec grand-mère, pour acheter des pommes fraîches et du pain. Le vendeur était"
    " aimable, mais tout coûtait plus qu’avant les fêtes, alors on est rentrés avec la moitié.": "cp1252 mac-roman",
}


@pytest.mark.parametrize(("text", "name"), [(text, name) for text, names in SENTENCES.items() for name in names.split()])
def test_the_right_encoding_is_offered_with_a_word_that_reads_right(text: str, name: str) -> None:
    found = readings(f"{text} ".encode(name, "ignore") * 20)
    assert dict(found)[name] in text
    assert len(found) <= MOST
    assert len({reading for _, reading in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "name"), [("Zażółć gęślą jaźń, są też łąki", "mac-latin2"), ("Мороз и солнце, Ещё я дремлю", "mac-cyrillic")]
)
def test_old_macs_texts_are_offered(text: str, name: str) -> None:
    found = dict(readings(f"{text} ".encode(name) * 20))
    assert found[name] in text


def test_polish_isnt_offered_as_western_european_whose_signs_would_stand_within_words() -> None:
    assert [name for name, _ in readings("zażółć gęślą jaźń ".encode("cp1250") * 9)] == ["cp1250"]


def test_a_few_words_and_what_is_no_text_tell_nothing() -> None:
    assert readings("zażółć gęślą".encode("cp1250")) == []
    assert readings(bytes(range(128, 256)) * 99) == []
    assert not has_words(b"well \x93 said \x94 " * 99)
    assert readings(b"well \x93 said \x94 " * 99) == []


def test_each_encoding_is_one_that_python_knows() -> None:
    for name in (*LATIN, *OTHERS, *EAST_ASIAN):
        assert "x".encode(name) == b"x"
