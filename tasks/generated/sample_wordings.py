"""How few-shot examples, paragraphs to find, reports, meetings and dialogues are worded."""

from __future__ import annotations

QUESTION_TYPES: dict[str, tuple[str, ...]] = {
    "Person": ("Who built the bridge of {town}?", "Who wrote to {person} from {town}?"),
    "Town": ("In which town was {person} born?", "From where did {person} sail to {town}?"),
    "River": ("On which river does {town} lie?", "Which river did {person} swim?"),
    "Date": ("When did {person} leave {town}?", "On what day was {town} founded?"),
    "Time of day": ("At what hour do the gates of {town} open?", "How late did {person} rise?"),
    "Duration": ("How long did {person} stay in {town}?", "For how many years was {person} a {trade}?"),
    "Price": ("What is the price of {goods} in {town}?", "How much did {person} pay for the {keepsake}?"),
    "Distance": ("How far is it from {town} to {other}?", "How many miles did {person} walk?"),
    "Weight": ("How heavy is the bell of {town}?", "What does the {animal} of {person} weigh?"),
    "Speed": ("How fast does the {name} sail?", "At what speed does the coach to {town} go?"),
    "Number": ("How many people live in {town}?", "How many {goods} did {person} sell?"),
    "Reason": ("Why did {person} sell the {keepsake}?", "Why was {town} given up?"),
    "Method": ("How does one get from {town} to {other}?", "How did {person} find the {keepsake}?"),
    "Definition": ("What is a {word}?", "What does {word} mean?"),
    "Language": ("What language do they speak in {town}?", "In what language did {person} write?"),
    "Animal": ("What animal did {person} bring to {town}?", "Which animal is on the flag of {town}?"),
    "Food": ("What did {person} eat on {weekday}?", "What dish is {town} known for?"),
    "Colour": ("What colour are the roofs of {town}?", "In what colour was the {name} painted?"),
    "Trade": ("How did {person} earn a living?", "What work do the people of {town} do?"),
    "Vessel": ("On which ship did {person} come to {town}?", "Which ship was lost off {town}?"),
}

ABSTRACT = "The paragraph is about {name}. Among other things it mentions {first} and {second}."

FINDING = "{statement} This is a finding of the report."
SECTION = "{heading}\n{text}"

SPEAKERS = ("Project Manager", "Marketing", "Industrial Designer", "User Interface")
MEETING = (
    "{first}: Next on the list is the {name}.",
    "{second}: I have looked at the {name}, and there is no reason to wait.",
    "{third}: What about the {goods}? They cost more every {weekday}.",
    "{second}: They are no part of the {name}.",
    "{first}: So let us decide. {decision}",
)
DECISIONS = (
    "The {name} is to be moved to {town} in {month}.",
    "The {name} is to be given to {person} until {month}.",
    "The {name} is to be sold to {person} on {weekday}.",
    "The {name} is to bear a painted {animal} from {month} on.",
)
MEETING_QUESTION = "What was decided about the {name}?"

DIALOGUES: dict[tuple[str, ...], str] = {
    # what {a} and {b} say -> what it comes to
    (
        "{a}: are you coming to {town} on {weekday}?",
        "{b}: yes, if the coach runs",
        "{a}: please bring the {goods}",
        "{b}: I will",
    ): "{b} will come to {town} on {weekday} and bring the {goods}.",
    (
        "{a}: have you seen the {keepsake}?",
        "{b}: no, when did you have it last?",
        "{a}: on {weekday}, in {town}",
        "{b}: then ask at the inn",
    ): "{a} has lost the {keepsake} in {town}.",
    (
        "{a}: guess what, I am a {trade} now",
        "{b}: really? since when?",
        "{a}: since {month}",
        "{b}: we must have supper on {weekday}",
    ): "{a} has been a {trade} since {month} and will have supper with {b} on {weekday}.",
    (
        "{a}: my {animal} has run away",
        "{b}: oh no! where?",
        "{a}: somewhere near {town}",
        "{b}: I will help you look on {weekday}",
    ): "{b} will help {a} look for the {animal} near {town} on {weekday}.",
    (
        "{a}: do you still want to sell the {keepsake}?",
        "{b}: I do, but not before {month}",
        "{a}: fine, I can wait",
        "{b}: come to {town} then",
    ): "{a} will buy the {keepsake} of {b} in {town} in {month}.",
    (
        "{a}: what shall we cook on {weekday}?",
        "{b}: not {food} again",
        "{a}: my cousin from {town} likes them",
        "{b}: all right, {food} then",
    ): "{a} and {b} will cook {food} on {weekday} for the cousin from {town}.",
}
TRIVIA = "Passage:\n{passage}\nQuestion:\n{question}\nAnswer:"
