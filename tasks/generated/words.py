"""Lists of plain English words and phrases; everything here was written for this project."""

from __future__ import annotations


def _entries(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


FIRST_NAMES = _entries(
    "Ada, Agnes, Albert, Alma, Anton, Arthur, Basil, Beatrice, Bruno, Cecil, Clara, Conrad, Cora, Daniel, "
    "Della, Dora, Edgar, Edith, Eliza, Emil, Ernest, Esther, Eva, Felix, Flora, Frances, Frederick, "
    "George, Gilbert, Grace, Gustav, Hannah, Harold, Helen, Henry, Hugh, Ida, Irene, Isaac, Ivor, Jacob, "
    "Jane, Jasper, Joan, Josef, Julia, Karl, Kate, Laura, Leonard, Lucy, Ludwig, Mabel, Margaret, Martha, "
    "Martin, Matilda, Max, Miriam, Nathan, Nell, Nora, Olive, Oscar, Otto, Paul, Philip, Rachel, Ralph, "
    "Robert, Rosa, Rufus, Ruth, Samuel, Sarah, Silas, Simon, Sophie, Stella, Susan, Theodore, Thomas, "
    "Ursula, Victor, Vera, Walter, Wilhelm, Winifred"
)
TRADES = _entries(
    "baker, barber, basket maker, beekeeper, bell founder, blacksmith, boat builder, bookbinder, brewer, "
    "bricklayer, candle maker, carpenter, carter, chemist, clockmaker, cobbler, cook, cooper, cutler, "
    "doctor, dyer, farmer, ferryman, fisherman, gardener, glazier, glover, grocer, harness maker, "
    "hatter, joiner, judge, lamplighter, lawyer, librarian, locksmith, mason, midwife, miller, "
    "miner, musician, notary, painter, pilot, porter, postman, potter, printer, roofer, sailor, "
    "schoolmaster, shepherd, surveyor, tailor, tanner, thatcher, vintner, weaver, wheelwright, woodcutter"
)
GOODS = _entries(
    "almonds, apples, barley, baskets, beans, bells, blankets, boots, bottles, bricks, brooms, buttons, "
    "candles, carpets, chairs, cheese, cherries, clocks, coal, coats, cotton, feathers, figs, flour, "
    "glass, gloves, hats, honey, hops, horses, ink, ivory, kettles, knives, lace, lamps, leather, linen, "
    "maps, marbles, mirrors, nails, needles, oats, olives, onions, oranges, paper, pears, pepper, pipes, "
    "plates, plums, pots, ribbons, ropes, saddles, salt, silk, soap, spoons, sugar, tea, tiles, timber, "
    "tobacco, turnips, velvet, vinegar, walnuts, wax, wheat, wine, wool"
)
FOODS = _entries(
    "apples, barley soup, beans, cabbage, cheese, cherries, dumplings, eels, figs, herring, lentils, mussels, "
    "noodles, olives, onions, pancakes, pears, plums, potatoes, turnips, walnuts"
)
KEEPSAKES = _entries(
    "blue umbrella, brass compass, broken violin, bundle of letters, carved walking stick, china teapot, "
    "copper whistle, cracked mirror, dented kettle, faded photograph, glass paperweight, gold ring, grey "
    "shawl, heavy Bible, iron key, ivory comb, lacquered box, leather purse, map of the coast, music box, "
    "old almanac, painted fan, pair of spectacles, pearl button, pocket telescope, red notebook, rusty "
    "pistol, sealed envelope, silver watch, small hourglass, snuff box, soldier's medal, stuffed owl, "
    "torn flag, velvet hat, wooden horse"
)
ANIMALS = _entries(
    "badger, black cat, bulldog, canary, dun cow, ferret, fox, goat, goose, greyhound, grey mare, "
    "hedgehog, jackdaw, lame pony, magpie, mule, one-eyed hound, parrot, peacock, pig, raven, sheepdog, "
    "spaniel, squirrel, tabby, terrier, tortoise, white donkey"
)
STREETS = _entries(
    "Abbey, Anchor, Bakers, Bridge, Castle, Chapel, Church, Dyers, East, Field, Fleet, Garden, Gate, "
    "Hill, Kiln, Lantern, Market, Meadow, Mill, North, Orchard, Priory, Quay, River, Rope, Saddlers, "
    "Salt, South, Station, Tanners, Temple, Tower, Water, Weavers, Well, West"
)
STREET_KINDS = ("Street", "Lane", "Row", "Road", "Square", "Alley")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FEARS = _entries(
    "deep water, thunder, high ladders, strangers, the dark, horses, the tax collector, dogs, fire, "
    "heights, the cold, silence, bees, old wells, bad debts, the sea, crowds, ghosts, spiders, long "
    "journeys"
)
WISHES = _entries(
    "to see the ocean, to buy a farm, to learn Latin, to own a carriage, to find a lost brother, to build "
    "a mill, to write a history of the county, to sing in the cathedral, to pay every debt, to sail to "
    "the islands, to win the lawsuit, to plant an orchard, to leave the valley, to be elected mayor, to "
    "open a school, to keep bees, to walk to the capital, to invent a better plough, to live quietly, to "
    "print a newspaper"
)
VESSELS = ("brig", "schooner", "barge", "steamer", "cutter", "ferry", "sloop", "lighter")
INNS = _entries(
    "Anchor, Bear, Black Swan, Blue Boar, Bull, Compass, Crown, Eagle, Fleece, Golden Lion, Green Man, "
    "Half Moon, Harrow, King's Head, Lamb, Nag's Head, Old Ship, Plough, Red Cow, Rising Sun, Rose, Seven "
    "Stars, Talbot, Three Tuns, Unicorn, Wheatsheaf, White Hart"
)
WEATHER = _entries(
    "A thin rain fell, The wind had turned to the north, It was a bright and windless morning, Fog lay "
    "over the fields, Snow had fallen in the night, The heat was heavy, Clouds hung low over the roofs, "
    "The frost held, A storm was gathering in the west, The evening was mild, Mist rose from the river, "
    "The sun was already low, Hail rattled on the slates, The sky cleared at last, It had been dry for "
    "weeks, The first leaves were turning"
)
SCENES = _entries(
    "the church clock struck {hour}, nobody stirred in the market place, the carts stood empty by the "
    "bridge, a dog barked somewhere beyond the wall, the lamps were lit one after another, two boys ran "
    "past with a kite, the river made hardly a sound, smoke rose straight from the chimneys, the last "
    "coach had left, the windows of the inn shone across the road, an old woman swept her step, the ducks "
    "slept on the pond, someone was playing a fiddle, the gate creaked and was still, the road lay white "
    "and empty, the mill had stopped for the night, the apprentices went home singing, the baker took "
    "down his shutters, a cart went by with hay, the ferry waited for its passengers"
)
HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
MANNERS = ("quietly", "slowly", "at once", "with a smile", "without looking up", "after a pause", "gravely", "sharply",
           "in a low voice", "cheerfully", "as if to himself alone", "with some heat")  # fmt: skip
