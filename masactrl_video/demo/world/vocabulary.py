"""The words that captions of the world are made of, and the plain words around them."""

SPECIES = ("bear", "cat", "rabbit", "robot", "frog", "panda")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
SCENES = {"meadow": "in the meadow", "beach": "at the beach", "snow": "in the snow", "room": "in a room"}
ACTIONS = ("standing", "waving", "cheering", "walking", "running", "kicking", "sitting", "dancing")
OBJECT_WORDS = (*SPECIES, "shirt", "pants")
"""Words of a caption that stand for the character."""

# Not used by captions today. They are whole tokens all the same, so that the world can grow without another tokenizer.
_RESERVED = """
fox dog mouse pig lion penguin pink brown white black grey city street night desert forest park space stage sky sea tree
house hat scarf striped dotted plain checked jumping pointing bowing sleeping sits stands
bears cats rabbits robots frogs pandas shirts dress skirt coat jacket
"""
_PLAIN = """
a an the and or of in on at with without to is are his her its from by under over near front behind left right two one
small big little cute happy picture photo cartoon drawing image video frame shirt pants trousers wearing
, . ! ? : ; - ( )
"""


def known_words() -> tuple[str, ...]:
    """Every word that is one token of the demo tokenizer, in a fixed order without repeats."""
    phrases = (*SPECIES, *COLOURS, *SCENES.values(), *SCENES, *ACTIONS, _PLAIN, _RESERVED)
    return tuple(dict.fromkeys(" ".join(phrases).split()))
