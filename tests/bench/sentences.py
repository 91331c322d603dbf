"""Labelled texts to measure classifiers on, made from seeds. They train nothing that ships, and no output is committed.

    python tests/bench/sentences.py assistant --count 13000 --seed 0 > assistant.tsv
    python tests/bench/sentences.py enquiries --count 4500 > enquiries.tsv
    python tests/bench/sentences.py first-word --count 4000 > first-word.tsv

``assistant``: 7 intents of about one size, many paraphrases, names and titles without end. ``enquiries``: 17 intents of one
subject, 7 of 10 sentences of one of them. Both have typos, rare forms that a part of the sentences may lack, and sentences that
mean one thing or another. No sentence stands twice.

``first-word``: 8 words, one of which begins each text and is its label, and then 5 to 200 characters of filler, which don't
tell it. What a network answers after the last character it has remembered.
"""

from __future__ import annotations

import argparse
import random
import re
import string
import sys
from collections.abc import Callable, Mapping, Sequence

Row = tuple[str, str]
"""A text and its label."""
DISTANCES = (5, 200)
DECIDING = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron")
FILLER = re.findall(
    r"\w+",
    """about after again all along and any are around as asked at back been before both but came could day did down
each even ever few first for found from gave get going good had half has have her here him his home how if in
into it just kept knew last left less like little long looked made many may me might more most much must near
never new next no not now of off often old on once one only or other our out over own part put quite rather
said saw see seemed set she should side since so some soon still such take than that the their them then there
they thing this those though three time to told took turned two under until up upon us very was way we well
went were what when where which while who why will with work would year yet you young your""",
)
TYPOS = 0.02
"""Chance of a slip of the finger in a word."""
UNRELIABLE = 0.006
"""Share of the labels that whoever labelled the sentences got wrong."""

# In the grammars (a|b|c) is one of these, the first ones more often, and {name} a form of that name.
ASSISTANT: dict[str, list[str]] = {
    "play_music": [
        "{please}play (|the song |some |the track |the tune ){title} by {artist}{end}",
        "{please}play {artist}{on}{end}",
        "{please}(put on|start|play|spin) (some |a bit of |){genre}( music|){on}",
        "(i want to|i'd like to|let me|can i) (hear|listen to) ({title}|{artist}|some {genre}){on}",
        "play (me |)(the |)(best|newest|latest|top|last) ({genre} |)(song|album|record|tracks) (by|from|of) {artist}",
        "(what about|how about|time for) (some |){genre}( tunes|)",
        "put {artist} on(| for us| in the kitchen)",
        "(use|open) {service} (to play|and play|for) ({artist}|{genre}|{title})",
        "music (by|from) {artist}{end}",
        "{title}, {artist}, (loud|now|from the start)",
        "play {title}",
        "(shuffle|repeat|loop) ({title}|my {listed} playlist)",
    ],
    "add_to_list": [
        "{please}add (the song |this track |the album |){title} to {whose}{listed}( playlist| list|)",
        "{please}(put|add|place|include) {artist} (on|onto|in|into|to) {whose}{listed} (playlist|list)",
        "(add|put) (this|another) (song|tune|track|album)( by {artist}|) (to|on|in|onto) {whose}{listed}",
        "i want (a song by |){artist} (on|in) {whose}{listed}( playlist|)",
        "{whose}{listed} playlist (needs|should have|lacks|wants) ({title}|{artist}|more {genre})",
        "(can you|could you|would you) (get|put|add) {title} (by {artist} |)(on|into) {whose}{listed}( playlist|)",
        "{listed}: add {title}",
        "save (this|{title}|the current track) (under|in|with) {whose}{listed}",
        "{artist} (belongs|goes) (on|in) {whose}{listed}",
    ],
    "book_table": [
        "{please}(book|reserve|get) (a table|a spot|seats|something) (for {people} |)(at|in) ({place}|{city}){when}",
        "(book|reserve|find) (me |us |)(a|the best|some) {cuisine} (restaurant|place|bistro|bar) (in|near|around) {city}{when}",
        "(i want to|i'd like to|we want to) (eat|dine|have dinner|get lunch) (at|in) ({place}|{city}){when}",
        "(i|we) need a (table|reservation|booking) (for {people}|at {place}|in {city}){when}",
        "(make|set up) a reservation( at {place}|) for {people}{when}",
        "table for {people}, {place}{when}",
        "(dinner|lunch|brunch) for {people} (somewhere|at a place) (in|near) {city}{when}",
        "is there (a free table|room for {people}) at {place}{when}",
        "a {cuisine} (restaurant|place) (with parking|with a terrace|that's cheap|for {people}){when}",
        "(get|find) {people} of us (in|seated) at {place}",
    ],
    "get_weather": [
        "(what is|what's|how's|how is|what will be) the (weather|forecast) (in|for|like in|near|at) {city}{when}",
        "{please}(tell me|give me|check|show me|get) the (weather|forecast|temperature) (in|for|of) {city}{when}",
        "(will|does|is) it (going to |)({sky}) in {city}{when}",
        "(will it|is it going to) (be|get|turn) {felt} (in|here in|around) {city}{when}",
        "how {felt} (is it|will it be) in {city}{when}",
        "(is|will) (rain|a storm|snow|fog|hail|wind) (expected|forecast|due|likely) in {city}{when}",
        "{city} weather{when}",
        "(do i|should i|need we) (need|take|bring|wear) (a coat|an umbrella|boots|sunscreen) in {city}{when}",
        "(chance|risk) of (rain|snow|storms|frost) in {city}{when}",
        "what's it like in {city}{when}",
    ],
    "rate_work": [
        "{please}(rate|give|score) {work} {points}",
        "(rate|mark) (this|the current|the last|that) {kind} (at |as |){points}",
        "{points} (for|to) {work}",
        "(i|i'd|i would) (give|rate) {work} (a |){points}",
        "{work} (deserves|gets|earns|is worth) (a |){points}",
        "(out of six|on a scale to five), {work} (is|gets) a {digit}",
        "add a rating of {points} to {work}",
        "put {work} down as {points}",
        "let {work} have {points}",
    ],
    "find_work": [
        "{please}(find|look for|search for|look up|get) (me |)(the |a |)({kind} |){title}",
        "(where can i|can i|how do i) (find|get|buy|see|read|download) (the |)({kind} |){title}",
        "(show|get) me (the |)({kind} |)(called |named |){title}",
        "i('m looking for| need| want|'d like to see) (the |a |)({kind}) (called |named |){title}",
        "(show|see|find) the trailer (of|for) {title}",
        "is there a {kind} (called|named|like) {title}",
        "{title}, the {kind}",
        "pull up {title}",
        "who has {title}",
    ],
    "find_showing": [
        "(where|when|what time) is {title} (showing|playing|on|shown){shown}",
        "(find|show me|get|give me|what are) (the |)(show times|showtimes|schedule|screenings) (of|for) {title}{shown}",
        "(is|are) {title} (playing|showing|on|still running){shown}",
        "(what|which) (films|movies) (are|can i see|play|run){shown}",
        "(find|look for|search for) (films|movies|animated movies|a film|{title}){shown}",
        "(find|show me) the (movie|film) (schedule|times|programme){shown}",
        "{please}(find|look up|show me) {title}{shown}",
        "can i (see|watch|catch) {title}{shown}",
        "(tickets|seats) for {title}{shown}",
        "{title}{shown}, what times",
    ],
}
SHARED_ASSISTANT: list[tuple[str, tuple[str, str]]] = [
    ("{please}(find|show me|look up|get) {title}", ("find_work", "find_showing")),
    ("(find|show me) (the |)(movie|film) {title}", ("find_showing", "find_work")),
    ("(i want to|let's) (see|watch) {title}", ("find_showing", "find_work")),
    ("put on {title}", ("play_music", "find_work")),
    ("(put|get) {artist} on( the list|)", ("add_to_list", "play_music")),
]
ENQUIRIES: dict[str, list[str]] = {
    "trip": [
        "{ask}(trains|all trains|the trains|connections|any trains|a train) {route}{day}{with}",
        "(i want to|i'd like to|i need to|we have to) (go|travel|get|take a train) {route}{day}{with}",
        "what trains (are there|leave|go|run|do you have) {route}{day}{with}",
        "(is there|are there|do you have) (a train|trains|anything|a night train|a direct train) {route}{day}{with}",
        "{route}{day}{with}",
        "which trains (arrive|get in|come) (in|at) {city} {clock}{day}",
        "(list|show|give me|find) (the earliest|the last|the first|the cheapest|the fastest) train {route}{day}",
        "please (book|find) (me |us |)(a seat|a train|a way|a connection) {route}{day}{with}",
        "(returning|then back|and then) {route}{day}",
        "i am (leaving|in|starting from) {city}{day} and (want to|must|have to) be in {city} {clock}",
    ],
    "fare": [
        "(how much is|what is|what's|what does) (a ticket|the fare|a return|the cheapest fare|it cost to go) {route}{day}",
        "{ask}(fares|the fares|the prices|ticket prices|the cheapest fares|the lowest fare) {route}{day}",
        "(how much|what) (would|does|will) (a first class|a second class|a return|a) ticket {route} cost",
        "what (is|are) the (lowest|cheapest|first class|return) (fare|fares|price) {route}",
        "(fares|price|cost) {route}{day}",
    ],
    "onward": [
        "(how do i|how can i|ways to) get (from|out of) the station (to|into) (the centre|downtown) in {city}",
        "(what|which) (buses|taxis|trams|transport) (are there|is available) (in|at|from the station in) {city}",
        "{ask}(local transport|taxis|buses|rental cars|car hire) (in|at the station in) {city}",
        "can i (rent a car|take a tram|get a taxi) in {city}",
    ],
    "operator": [
        "(which|what) (company|companies|operator|operators|lines) (run|runs|serve|go|go) {route}{day}",
        "{ask}(operators|companies|railway companies) (that serve|serving|with trains to) {city}",
        "who (runs|operates) (the|this) train {route}",
    ],
    "code": [
        "what does (the |)(code |fare code |letter |){code} (mean|stand for)",
        "(explain|what is|what's|define) (the |)(code |fare code |restriction |){code}",
    ],
    "rolling_stock": [
        "(what|which) (kind of|type of|sort of) (train|carriage|engine) (is used|runs|is that|goes) {route}{day}",
        "{ask}(the type of train|what rolling stock is used|train types) {route}",
        "what is (a|an|the) {stock}",
    ],
    "time_of": [
        "(what time|when) does (the (last|first|next) train|it) (leave|arrive|go) {route}{day}",
        "{ask}(the times|departure times|arrival times|the timetable) {route}{day}",
    ],
    "station": [
        "(what|which) (station|stations) (is|are) (in|near|closest to) {city}",
        "{ask}(the stations|all stations|the main station) (of|in|near) {city}",
    ],
    "count": ["how many (trains|direct trains|connections|seats) (go|are there|run|leave|are sold) {route}{day}"],
    "distance": ["how (far|many miles|long a way) is (it |)(from the station to (the centre|downtown) in {city}|{route})"],
    "meal": ["(what|which) (meals|meal|food|snacks) (are|is) served on (the train |trains |)({route}|number {number})"],
    "capacity": ["how many (people|passengers|seats) (fit into|does|can|are in) (a|an|the) {stock}( hold| take|)"],
    "duration": ["how (long|many hours) (does|is|will) (the (trip|ride|journey)|it take) {route}"],
    "restriction": [
        "(what are the|any|which) (restrictions|conditions|rules) (on|of|for) (the |)(cheapest|{code}|discount) (fare|ticket)"
    ],
    "weekday": ["(what|which|on what) days (of the week |)do trains (run|go|leave) {route}"],
    "trip+fare": ["{ask}(trains|connections) and (fares|prices|what they cost) {route}{day}"],
    "cancel": ["(cancel|change|forget|drop) (my |the |)(booking|ticket|seat|reservation) {route}"],
}
SHARED_ENQUIRIES: list[tuple[str, tuple[str, str]]] = [
    ("(cheapest|lowest|cheap) (ones |trains |one way |return |){route}{day}", ("trip", "fare")),
    ("{ask}(departures|arrivals) {route}{day}", ("trip", "time_of")),
    ("(times|when) {route}{day}", ("time_of", "trip")),
]
SIZES = {"trip": 300, "fare": 40, "onward": 24, "operator": 15, "code": 9, "rolling_stock": 8, "time_of": 7, "station": 5}
"""How often each of the enquiries is made; the others twice, once for ``trip+fare`` and ``cancel``."""
NAMED: dict[str, list[str]] = {
    "please": ["", "please ", "can you ", "could you ", "hey, ", "i want you to ", "would you please ", "ok now "],
    "end": ["", " please", " now", " for me", ", thanks", " tonight"],
    "on": ["", " on {service}", " in the kitchen", " on the radio", " at low volume"],
    "service": ["tunebox", "the radio", "songbird", "wavehall", "discoteca"],
    "genre": [
        "jazz",
        "rock",
        "blues",
        "folk",
        "soul",
        "techno",
        "salsa",
        "reggae",
        "opera",
        "country",
        "punk",
        "swing",
        "fado",
    ],
    "whose": ["my ", "the ", "", "{first}'s ", "our "],
    "listed": [
        "{genre}",
        "party",
        "{word} {word}",
        "road trip",
        "the {word} list",
        "sunday morning",
        "{word}",
        "work out",
        "calm",
    ],
    "people": ["two", "four", "3", "me and {first}", "six people", "5", "a party of eight", "{first}, {first} and me", "ten"],
    "place": ["{name}'s", "the {word} {word}", "{name} house", "the {name} arms", "chez {first}", "a {cuisine} place"],
    "cuisine": ["italian", "thai", "indian", "french", "greek", "vegan", "korean", "seafood", "lebanese", "tapas", "cheap"],
    "city": ["{town}", "{town}", "{town}", "{town}", "new {town}", "{town} bay", "saint {town}"],
    "when": [
        "",
        " tomorrow",
        " on {weekday}",
        " tonight",
        " at {digit} pm",
        " in {digit} hours",
        " next week",
        " for the weekend",
    ],
    "sky": ["rain", "snow", "be sunny", "storm", "freeze", "be cloudy", "clear up", "hail", "drizzle", "blow hard"],
    "felt": ["cold", "warm", "hot", "windy", "humid", "freezing", "foggy", "chilly", "mild", "stormy"],
    "points": ["{digit} stars", "{digit} out of 6", "{digit} points", "{digit} of 5", "a {digit}", "{digit}", "zero stars"],
    "digit": ["four", "5", "3", "two", "1", "6", "0"],
    "kind": ["book", "novel", "movie", "game", "show", "painting", "album", "series", "saga", "song", "picture", "essay"],
    "work": ["{title}", "the {kind} {title}", "this {kind}", "the last {kind}", "{title} by {artist}"],
    "shown": [
        " at the {place} cinema",
        " nearby",
        " at {name} cinemas",
        " at the movie house",
        " in the neighbourhood",
        " {near}",
    ],
    "near": ["close by", "around here", "tonight", "at the drive-in", "in {city}", "within five miles"],
    "artist": ["{first} {name}", "the {word}s", "{name}", "{first} and the {word}s", "{word} {word}", "dj {name}"],
    "title": [
        "the {word} of {word}",
        "{word} {word}",
        "{word}",
        "the {word}",
        "{word} in the {word}",
        "{first}'s {word}",
        "a {word} for {first}",
        "{word} and {word}",
        "{word} weather",
        "play {word}",
        "the book of {word}",
        "rate of {word}",
        "five {word}s",
        "table of {word}",
        "list of {word}s",
    ],
    "ask": [
        "show me ",
        "list ",
        "give me ",
        "i need ",
        "what are ",
        "please show me ",
        "tell me about ",
        "i'd like to see ",
        "find ",
    ],
    "route": [
        "from {city} to {city}",
        "between {city} and {city}",
        "to {city} from {city}",
        "from {city} via {city} to {city}",
        "leaving {city} going to {city}",
        "out of {city} to {city}",
        "to {city}",
    ],
    "day": [
        "",
        " on {weekday}",
        " tomorrow",
        " {clock}",
        " on {weekday} morning",
        " next {weekday}",
        " on the {ordinal} of {month}",
    ],
    "with": ["", "", " with a stop in {city}", " {clock}", " and a meal on board", " in first class", " without a change"],
    "clock": ["before {number} am", "after {number} pm", "in the evening", "around noon", "by {number} o'clock", "at night"],
    "weekday": ["monday", "friday", "sunday", "tuesday", "saturday", "wednesday", "thursday"],
    "month": ["june", "may", "july", "april", "december", "august"],
    "ordinal": ["first", "third", "tenth", "fifth", "second", "twenty first"],
    "number": ["eight", "10", "six", "5", "nine", "12", "seven", "417", "1030"],
    "code": ["{letter}{letter}", "{letter}", "{letter}x", "ap {number}", "qo"],
    "letter": list("yhfbqkmsw"),
    "stock": ["t{number}", "sleeper", "railcar", "double decker", "{name} {number}", "class {number}"],
}


def names(count: int, seed: int, syllables: tuple[int, int]) -> list[str]:
    """Words that nobody knows, for names of people and places."""
    rng = random.Random(seed)
    onsets, ends = (
        re.findall(r"\w+", text) for text in ("b br c d dr f g gr h k l m n p r s st t tr v w z th", "l n r s th m x nd")
    )
    found = dict[str, None]()
    while len(found) < count:
        parts = [rng.choice(onsets) + rng.choice("aeiou") for _ in range(rng.randint(*syllables))]
        found["".join(parts) + rng.choice(["", *ends])] = None
    return list(found)


WORDS = re.findall(
    r"\w+",
    """river night shadow king heart star winter garden stone road fire ghost mirror summer silver moon dancer train
letter window island mountain dream city blood angel storm bridge clock forest sister soldier castle dog rain
desert ocean flower engine paper golden secret broken little lonely hidden distant final red black velvet
electric wild quiet burning frozen hollow sleeping hunter table movie playlist concert kitchen weather teacher
stranger window market harbour orphan rocket tiger wolf crown sword""",
)
OPEN = {"word": WORDS, "name": names(900, 1, (1, 3)), "first": names(300, 2, (1, 2)), "town": names(260, 3, (2, 3))}
"""Names that the grammars take from long lists, each about as often as another."""


class Speaker:
    """Makes sentences of a grammar."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def sentence(self, form: str) -> str:
        """One sentence of ``form``, with its slips."""
        words = " ".join(self._expanded(form).split()).split(" ")
        return " ".join(self._slipped(word) if self._rng.random() < TYPOS else word for word in words)

    def likely(self, forms: Sequence[str]) -> str:
        """One of ``forms``: the n-th about 1 / n as often as the first."""
        return self._rng.choices(forms, [1 / (n + 1) for n in range(len(forms))])[0]

    def _expanded(self, form: str) -> str:
        while found := re.search(r"\{(\w+)\}|\(([^()]*)\)", form):
            name, choices = found.groups()
            if name is None:
                put = self.likely(choices.split("|"))
            else:
                put = self._rng.choice(OPEN[name]) if name in OPEN else self.likely(NAMED[name])
            form = form[: found.start()] + put + form[found.end() :]
        return form

    def _slipped(self, word: str) -> str:
        if len(word) < 3:
            return word
        place = self._rng.randrange(1, len(word) - 1)
        return self._rng.choice(
            [
                word[:place] + word[place + 1 :],
                word[:place] + word[place] + word[place:],
                word[:place] + word[place + 1] + word[place] + word[place + 2 :],
                word[:place] + self._rng.choice(string.ascii_lowercase) + word[place + 1 :],
            ]
        )


def sentences(
    forms: Mapping[str, list[str]],
    shared: Sequence[tuple[str, tuple[str, str]]],
    sizes: Mapping[str, int],
    count: int,
    seed: int,
) -> list[Row]:
    """``count`` different sentences of intents that are ``sizes`` large: one in 25 of a form that two intents share."""
    rng = random.Random(seed)
    speaker, labels, found = Speaker(rng), list(forms), dict[str, str]()
    while len(found) < count:
        if rng.random() < 0.04:
            form, (often, seldom) = rng.choice(shared)
            label = often if rng.random() < 0.75 else seldom
        else:
            label = rng.choices(labels, [sizes[label] for label in labels])[0]
            form = speaker.likely(forms[label])
        if rng.random() < UNRELIABLE:
            label = rng.choice(labels)
        found.setdefault(speaker.sentence(form), label)
    return list(found.items())


def assistant(count: int, seed: int) -> list[Row]:
    """Sentences of 7 intents of one size."""
    return sentences(ASSISTANT, SHARED_ASSISTANT, dict.fromkeys(ASSISTANT, 1), count, seed)


def enquiries(count: int, seed: int) -> list[Row]:
    """Sentences of 17 intents, most of which are rare."""
    rare = dict.fromkeys(ENQUIRIES, 2) | {"trip+fare": 1, "cancel": 1}
    return sentences(ENQUIRIES, SHARED_ENQUIRIES, rare | SIZES, count, seed)


def first_word(count: int, seed: int, distances: Sequence[int] = range(DISTANCES[0], DISTANCES[1] + 1)) -> list[Row]:
    """Texts whose first word is their label, ``distances`` in turn from its end to the end of the text."""
    rng = random.Random(seed)
    rows = []
    for place in range(count):
        filler, distance, label = "", distances[place % len(distances)], rng.choice(DECIDING)
        while len(filler) < distance:
            filler += f" {rng.choice(FILLER)}"
        end = filler[:distance]
        rows.append((label + re.sub(" $", "s", end), label))  # A blank at the end would be no character of the text.
    return rows


MAKERS: dict[str, Callable[[int, int], list[Row]]] = {"assistant": assistant, "enquiries": enquiries, "first-word": first_word}


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=MAKERS)
    parser.add_argument("--count", type=int, default=4500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.stdout.write(
        "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in MAKERS[given.kind](given.count, given.seed))
    )


if __name__ == "__main__":
    main()
