"""How generated documents tell, ask for and repeat what they say of their people."""

from __future__ import annotations

STATEMENTS: dict[str, tuple[str, ...]] = {
    "trade": (
        "{name} was a {value}.",
        "By trade {name} was a {value}.",
        "Everyone in {home} knew {name} as the {value}.",
        "{name}, the {value}, was seldom seen without {animal}.",
    ),
    "home": (
        "{name} lived in {value}.",
        "The home of {name} was in {value}.",
        "It was in {value} that {name} kept house.",
        "Letters for {name} were sent to {value}.",
    ),
    "house": (
        "{name} had a house at {value}.",
        "The house of {name} stood at {value}.",
        "You would find {name} at {value}.",
        "At {value} there was a door with the name of {name} on it.",
    ),
    "animal": (
        "{name} kept {value}.",
        "Wherever {name} went, there went {value}.",
        "For company {name} had {value}.",
        "{name} would not part with {value} for any money.",
    ),
    "keepsake": (
        "In a drawer {name} kept the {value}.",
        "The {value} belonged to {name}.",
        "{name} never spoke of the {value}.",
        "Of all things {name} valued the {value}.",
    ),
    "birth": (
        "{name} was born on {value}.",
        "The register gives the birth of {name} as {value}.",
        "On {value} {name} came into the world.",
        "{name} always kept the day, {value}.",
    ),
    "price": (
        "{name} sold {goods} at {value} the dozen.",
        "From {name} one could have {goods} for {value}.",
        "{name} asked {value} for {goods}, and never a penny less.",
        "The price that {name} asked was {value}.",
    ),
    "fear": (
        "{name} was afraid of {value}.",
        "What {name} feared was {value}.",
        "Nothing troubled {name} so much as {value}.",
        "It was said that {value} made {name} turn pale.",
    ),
    "wish": (
        "{name} hoped {value}.",
        "The one wish of {name} was {value}.",
        "All that {name} wanted was {value}.",
        "If asked, {name} would say that the plan was {value}.",
    ),
    "inn": (
        "In the evening {name} sat at the {value}.",
        "{name} took supper at the {value}.",
        "At the {value} there was a chair that was called the chair of {name}.",
        "The {value} was the house where {name} was always welcome.",
    ),
}
QUESTIONS: dict[str, tuple[str, str]] = {
    "trade": ("What is the trade of {name}?", "{name} is a {value}."),
    "home": ("Where does {name} live?", "{name} lives in {value}."),
    "house": ("At which door shall I ask for {name}?", "At {value}."),
    "animal": ("What was that beside {name}?", "That was {value}."),
    "keepsake": ("What does {name} keep in that drawer?", "The {value}."),
    "birth": ("When was {name} born?", "On {value}."),
    "price": ("What does {name} ask for {goods}?", "{value}, not a penny less."),
    "fear": ("What is {name} afraid of?", "Of {value}."),
    "wish": ("What does {name} hope for?", "{name} hopes {value}."),
    "inn": ("Where does {name} sit of an evening?", "At the {value}."),
}
REMINDERS = (
    "As has been told, {statement}",
    "It will be remembered that {statement}",
    "{plain}",
    "{plain}",
    "{plain}",
    "Nothing had changed: {statement}",
    "The old people still said that {statement}",
)
QUOTATIONS = ("It was written in the book: ", "The clerk read once more: ", "Again and again: ", "")
REFRAIN = "{line}, {burden}, {burden}!"
SCENERY = "{weather}, and {scene}."
DIALOGUE = '"{question}" asked {asking} {manner}. "{answer}" said {answering}.'
TRADE = "On {weekday} {buyer} bought {count} dozen {goods} of {seller}, the {trade} of {home}, at {price} the dozen."
TRADE_ENDINGS = (
    "They went by {vessel} to {buyer_home}.",
    "They were carried to {buyer_house}.",
    "The bargain was closed at the {inn}.",
    "{buyer} counted them {manner}.",
)
LETTER = "{home}, {date}. Dear {reader}, you ask after {absent}. {told} {scenery} Yours, {writer}, {house}."
SONG = "{manner} {singer} began to sing: {refrain}"
VESSEL = "the {vessel} {name}"
HOUSE = "{number} {street} {kind}"
ANIMAL = "{article} {animal} called {name}"
ARTICLES = ("a", "an")
DATE = "the {day} of {month} {year}"
PRICES = ("{shillings} shillings", "{shillings} shillings and {pence} pence")
