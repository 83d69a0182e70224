"""How facts about invented people, towns, ships, firms, mountains and schools are stated and asked for."""

from __future__ import annotations

STATEMENT = "The {relation} of {name} is {value}."
QUESTION = "What is the {relation} of {name}?"
SCENERY = "{weather}, and {scene}."

FACTS: dict[str, dict[str, tuple[str, str, tuple[str, ...]]]] = {
    # kind of entity -> relation -> kind of value, question in other words, statements in other words
    "person": {
        "trade": (
            "trade",
            "How does {name} earn a living?",
            ("For a living {name} works as a {value}.", "{name} has been a {value} from youth on."),
        ),
        "birthplace": (
            "town",
            "Where was {name} born?",
            ("{name} was born in {value}.", "It was in {value} that {name} came into the world."),
        ),
        "birth month": (
            "month",
            "In which month was {name} born?",
            ("{name} keeps a birthday in {value}.", "The birthday of {name} falls in {value}."),
        ),
        "teacher": (
            "person",
            "Who taught {name}?",
            ("{name} was taught by {value}.", "All that {name} knows was learned from {value}."),
        ),
        "cousin": (
            "person",
            "Who is a cousin to {name}?",
            ("{name} has a cousin called {value}.", "{value} is a cousin to {name}."),
        ),
        "horse": (
            "name",
            "What is the horse that {name} rides called?",
            ("{name} rides a horse called {value}.", "{value} is the horse that {name} rides."),
        ),
        "keepsake": (
            "keepsake",
            "What does {name} keep in a drawer?",
            ("In a drawer {name} keeps the {value}.", "{name} would not part with the {value}."),
        ),
        "watchword": (
            "word",
            "Which word must be said to {name} at the door?",
            ('At the door one must say "{value}" to {name}.', '{name} lets in whoever says "{value}".'),
        ),
    },
    "town": {
        "founder": (
            "person",
            "Who founded {name}?",
            ("{name} was founded by {value}.", "It was {value} who laid the first stone of {name}."),
        ),
        "mayor": (
            "person",
            "Who governs {name}?",
            ("{name} is governed by {value}.", "{value} was elected to govern {name}."),
        ),
        "river": (
            "name",
            "On which river does {name} lie?",
            ("{name} lies on the river {value}.", "The river {value} flows through {name}."),
        ),
        "market day": (
            "weekday",
            "On which day do the stalls open in {name}?",
            ("In {name} the stalls open on {value}.", "Every {value} the stalls open in {name}."),
        ),
        "export": (
            "goods",
            "What does {name} sell abroad?",
            ("{name} sells {value} abroad.", "People abroad know {name} for its {value}."),
        ),
        "old name": (
            "name",
            "What was {name} called in former times?",
            ("In former times {name} was called {value}.", "On old maps {name} is called {value}."),
        ),
        "dialect": (
            "name",
            "What do the people of {name} speak?",
            ("The people of {name} speak {value}.", "In {name} one hears nothing but {value}."),
        ),
        "neighbour": (
            "town",
            "Which town lies next to {name}?",
            ("The road from {name} leads to {value}.", "Next to {name} lies {value}."),
        ),
    },
    "ship": {
        "captain": (
            "person",
            "Who commands the {name}?",
            ("The {name} is commanded by {value}.", "{value} commands the {name}."),
        ),
        "owner": (
            "person",
            "Who owns the {name}?",
            ("The {name} belongs to {value}.", "{value} paid for the {name} and owns her."),
        ),
        "home port": (
            "town",
            "Where does the {name} spend the winter?",
            ("The {name} spends the winter in {value}.", "In winter the {name} lies in {value}."),
        ),
        "cargo": (
            "goods",
            "What does the {name} carry?",
            ("The {name} carries {value}.", "The hold of the {name} is full of {value}."),
        ),
        "call sign": (
            "pair",
            "What does the {name} signal?",
            ("The {name} signals {value}.", "When she is hailed the {name} answers {value}."),
        ),
        "figurehead": (
            "animal",
            "What is carved at the bow of the {name}?",
            (
                "A carved {value} looks out from the bow of the {name}.",
                "At the bow of the {name} is a {value}.",
            ),
        ),
    },
    "firm": {
        "founder": (
            "person",
            "Who started the firm {name}?",
            ("The firm {name} was started by {value}.", "It was {value} who started the firm {name}."),
        ),
        "director": (
            "person",
            "Who runs the firm {name}?",
            ("The firm {name} is run by {value}.", "Today {value} runs the firm {name}."),
        ),
        "seat": (
            "town",
            "Where are the offices of the firm {name}?",
            ("The firm {name} has its offices in {value}.", "The offices of the firm {name} are in {value}."),
        ),
        "product": (
            "goods",
            "What does the firm {name} make?",
            ("The firm {name} makes {value}.", "The {value} of the firm {name} are sold everywhere."),
        ),
        "trademark": (
            "word",
            "Which word does the firm {name} print on its boxes?",
            (
                'The firm {name} prints "{value}" on its boxes.',
                'On the boxes of the firm {name} stands "{value}".',
            ),
        ),
        "pay day": (
            "weekday",
            "On which day does the firm {name} pay its people?",
            (
                "The firm {name} pays its people on {value}.",
                "On {value} the people of the firm {name} are paid.",
            ),
        ),
    },
    "mountain": {
        "first climber": (
            "person",
            "Who was the first on the top of mount {name}?",
            (
                "{value} was the first on the top of mount {name}.",
                "Nobody stood on mount {name} before {value}.",
            ),
        ),
        "nearest town": (
            "town",
            "From which town does one see mount {name}?",
            ("One sees mount {name} from {value}.", "Mount {name} stands above {value}."),
        ),
        "glacier": (
            "name",
            "What is the ice on mount {name} called?",
            ("The ice on mount {name} is called {value}.", "On mount {name} begins the {value} ice."),
        ),
        "guide": (
            "person",
            "Who leads people up mount {name}?",
            ("{value} leads people up mount {name}.", "Up mount {name} one is led by {value}."),
        ),
        "best month": (
            "month",
            "When should one climb mount {name}?",
            ("One should climb mount {name} in {value}.", "In {value} mount {name} is free of snow."),
        ),
    },
    "school": {
        "head": (
            "person",
            "Who is in charge of the school {name}?",
            ("{value} is in charge of the school {name}.", "The school {name} is in the hands of {value}."),
        ),
        "place": (
            "town",
            "Where does the school {name} stand?",
            ("The school {name} stands in {value}.", "In {value} one finds the school {name}."),
        ),
        "motto": (
            "pair",
            "What is written over the door of the school {name}?",
            (
                'Over the door of the school {name} is written "{value}".',
                'The pupils of the school {name} live by "{value}".',
            ),
        ),
        "emblem": (
            "animal",
            "What do the pupils of the school {name} wear on their caps?",
            (
                "The pupils of the school {name} wear a {value} on their caps.",
                "On every cap of the school {name} is a {value}.",
            ),
        ),
        "holiday": (
            "weekday",
            "On which day is the school {name} closed?",
            ("The school {name} is closed on {value}.", "Every {value} the school {name} is closed."),
        ),
    },
}
