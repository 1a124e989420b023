"""Words of English that an attack had better leave alone."""

NEGATIONS = frozenset(
    "not no never nobody nothing nowhere neither nor none hardly scarcely barely rarely seldom far "
    "without cannot isn't wasn't aren't weren't don't doesn't didn't won't wouldn't can't couldn't "
    "shouldn't mustn't needn't hasn't haven't hadn't ain't n't".split()
)
STOP_WORDS = frozenset(
    "a an the this that these those i me my we us our you your he him his she her it its they them "
    "their who whom which what is am are was were be been being have has had do does did will "
    "would shall should can could may might must and or but if because as until while of at by for "
    "with about against between into through during before after above below to from up down in "
    "out on off over under again further then once here there when where why how all any both each "
    "few more most other some such only own same so than too very just".split()
)
