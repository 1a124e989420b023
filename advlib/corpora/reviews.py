"""The world `reviews`: short opinions about things people pay for. Data only; `engine.py` reads it.

How to read it:
- `GROUPS`: words that may replace one another without changing the label, commonest first.
  A name that ends in `+` or `-` is a group of praise or of blame. No word stands in two groups.
- `DOMAINS`: what can be reviewed. An aspect is (noun group, adjective class); the class names a
  pair of groups, so that a waiter can be curt and a battery cannot.
- `{a}` becomes a or an; `{name}` is a word of that group; `{be}` agrees with the noun.
"""

NAME = "reviews"

GROUPS = {
    # --- praise and blame that fit one kind of thing only -------------------------------------
    "general+": "great good excellent wonderful fantastic superb brilliant terrific lovely "
    "marvellous splendid outstanding magnificent stellar exemplary",
    "general-": "terrible bad awful horrible poor dreadful appalling lousy atrocious abysmal dire "
    "woeful deplorable lamentable execrable",
    "person+": "friendly kind polite helpful attentive welcoming courteous considerate gracious "
    "obliging cordial amiable affable genial",
    "person-": "rude unfriendly arrogant unhelpful impolite dismissive grumpy condescending curt "
    "snooty surly brusque discourteous churlish",
    "taste+": "delicious tasty yummy flavourful mouthwatering scrumptious appetising delectable "
    "tantalising toothsome moreish scrummy",
    "taste-": "bland tasteless disgusting inedible nasty flavourless revolting unappetising vile "
    "insipid unpalatable nauseating",
    "mood+": "cosy charming inviting pleasant peaceful cheerful delightful homely restful tranquil "
    "enchanting serene idyllic",
    "mood-": "gloomy dingy dreary depressing cramped stuffy drab bleak dismal cheerless dank "
    "claustrophobic oppressive",
    "clean+": "clean spotless tidy immaculate sparkling pristine gleaming hygienic sanitary",
    "clean-": "dirty filthy dusty grubby stained smelly sticky grimy unhygienic soiled mucky squalid",
    "comfort+": "comfortable soft comfy supportive plush cushioned ergonomic cushy",
    "comfort-": "uncomfortable lumpy saggy creaky wobbly misshapen sunken unsupportive",
    "price+": "reasonable fair affordable modest sensible competitive acceptable realistic",
    "price-": "outrageous ridiculous excessive steep unreasonable inflated exorbitant unfair "
    "scandalous extortionate astronomical prohibitive",
    "speed+": "fast quick prompt efficient speedy swift rapid brisk snappy nimble expeditious",
    "speed-": "slow sluggish inefficient unresponsive lethargic plodding glacial ponderous tardy",
    "build+": "sturdy solid strong robust durable tough rugged resilient indestructible stout",
    "build-": "flimsy fragile weak shoddy brittle loose defective feeble rickety breakable",
    "story+": "gripping clever engaging compelling witty absorbing imaginative captivating riveting "
    "inventive enthralling engrossing spellbinding",
    "story-": "predictable pointless unoriginal contrived cliched implausible formulaic incoherent "
    "derivative hackneyed trite turgid",
    "acting+": "convincing believable talented moving charismatic gifted expressive magnetic "
    "nuanced heartfelt",
    "acting-": "wooden unconvincing amateurish lifeless forgettable miscast mechanical stilted "
    "hammy expressionless",
    "sound+": "crisp rich balanced warm punchy immersive resonant mellow melodious velvety",
    "sound-": "muffled tinny distorted harsh hollow shrill crackly grating screechy discordant",
    "image+": "sharp bright vivid vibrant detailed lifelike dazzling radiant luminous",
    "image-": "blurry dim grainy faded fuzzy pixelated murky hazy indistinct smeary",
    "trust+": "reliable dependable steady stable consistent trustworthy flawless faultless unfailing",
    "trust-": "unreliable unstable erratic faulty glitchy temperamental buggy patchy fickle wonky",
    "look+": "beautiful elegant stylish pretty attractive sleek gorgeous handsome classy chic "
    "graceful",
    "look-": "ugly hideous tacky clunky unattractive garish unsightly gaudy frumpy dowdy",
    "clarity+": "clear informative thorough understandable straightforward instructive lucid "
    "illuminating comprehensible intelligible",
    "clarity-": "confusing unclear vague misleading baffling incomprehensible muddled bewildering "
    "cryptic perplexing impenetrable",
    "spot+": "convenient central ideal handy scenic picturesque enviable",
    "spot-": "inconvenient remote isolated dodgy seedy desolate insalubrious",
    "order+": "organised smooth seamless effortless orderly painless streamlined",
    "order-": "chaotic disorganised messy haphazard frantic shambolic slapdash disorderly",
    "fun+": "exciting enjoyable entertaining memorable fascinating thrilling amusing stimulating "
    "exhilarating",
    "fun-": "boring dull tedious tiresome monotonous uneventful lacklustre wearisome humdrum",
    # --- other words that carry an opinion ----------------------------------------------------
    "loved+": "loved enjoyed appreciated adored admired relished cherished",
    "loved-": "hated disliked loathed regretted detested resented despised abhorred",
    "love+": "love like enjoy adore appreciate admire treasure",
    "love-": "hate dislike loathe regret detest resent despise abhor",
    "pleased+": "impressed delighted pleased charmed amazed wowed enchanted gratified",
    "pleased-": "disappointed annoyed frustrated irritated upset infuriated dismayed exasperated",
    "gladly+": "happily gladly definitely certainly cheerfully wholeheartedly readily",
    "joy+": "joy treat delight pleasure triumph gem marvel",
    "joy-": "disappointment disaster mess letdown failure nightmare shambles fiasco debacle travesty",
    "recommend+": "recommend",
    "return+": "return",
    "avoid-": "avoid skip shun",
    "worth+": "worth",
    "waste-": "waste",
    "refund-": "refund",
    "complain-": "complained grumbled moaned griped",
    "thanked+": "thanked praised complimented applauded",
    # --- neutral words ------------------------------------------------------------------------
    "very": "very really quite truly extremely incredibly remarkably thoroughly exceptionally "
    "exceedingly",
    "simply": "simply absolutely totally completely",
    "particularly": "particularly especially remotely exactly",
    "found": "found considered",
    "finds": "find consider",
    "honestly": "overall honestly frankly admittedly personally ultimately truthfully",
    "relative": "wife husband partner sister brother mother father daughter son cousin aunt uncle "
    "nephew niece",
    "friend": "friend colleague neighbour boss flatmate classmate roommate workmate",
    "weekday": "saturday friday sunday thursday monday wednesday tuesday",
    "month": "july august may june april december march september october january november february",
    "meal": "dinner lunch breakfast brunch supper",
    "occasion": "birthday anniversary graduation wedding retirement engagement",
    "number": "two three four five six seven eight nine ten",
    "weeks": "weeks months years days",
    "week": "week month year weekend summer winter spring autumn",
    "city": "london paris berlin rome madrid dublin vienna lisbon prague oslo athens brussels "
    "budapest warsaw",
    "anyone": "anyone everyone everybody anybody",
    "money": "money cash",
    "penny": "penny cent",
    # --- nouns --------------------------------------------------------------------------------
    "restaurant": "restaurant bistro diner pizzeria brasserie tavern trattoria",
    "waiter": "waiter waitress server bartender hostess sommelier",
    "dish": "soup pizza steak curry salad pasta chicken burger fish stew lasagne risotto omelette "
    "casserole paella",
    "dishes": "desserts starters noodles pancakes dumplings chips vegetables meatballs prawns "
    "mussels",
    "terrace": "terrace patio courtyard conservatory veranda",
    "cutlery": "plates tables glasses forks knives spoons napkins tablecloths",
    "bill": "bill price cost total",
    "kitchen": "service kitchen takeaway",
    "hotel": "hotel hostel inn guesthouse motel lodge resort",
    "receptionist": "receptionist manager porter concierge housekeeper caretaker",
    "bedroom": "room suite bedroom lobby lounge balcony apartment",
    "bathroom": "bathroom shower carpet bathtub toilet sink floor",
    "bed": "bed mattress sofa armchair couch",
    "pillows": "pillows cushions recliners",
    "rate": "rate tariff surcharge deposit",
    "location": "location neighbourhood area district setting",
    "phone": "phone smartphone handset",
    "screen": "screen display touchscreen",
    "photos": "photos pictures videos selfies snapshots portraits",
    "battery": "battery charger connection signal",
    "casing": "case casing hinge frame bezel",
    "phone_app": "app software firmware interface",
    "styling": "design styling finish shape colour",
    "laptop": "laptop computer notebook tablet chromebook",
    "processor": "processor keyboard trackpad browser chip",
    "webcam": "webcam projector monitor",
    "manual": "manual handbook booklet tutorial",
    "headphones": "headphones earphones earbuds earpieces",
    "audio": "sound bass audio treble",
    "mic": "microphone speaker soundbar",
    "earpads": "earpads headbands straps",
    "cables": "cables buttons plugs sockets",
    "film": "film movie comedy thriller drama sequel western documentary",
    "plot": "plot story script ending screenplay storyline",
    "dialogues": "dialogues jokes scenes subplots",
    "actor": "actor actress lead villain heroine protagonist",
    "cinematography": "cinematography animation lighting",
    "soundtrack": "soundtrack score music",
    "cinema": "cinema theatre multiplex",
    "novel": "novel book memoir biography paperback anthology",
    "chapter": "chapter prologue epilogue opening premise",
    "chapters": "chapters poems essays anecdotes letters",
    "narrator": "narrator translator illustrator",
    "cover": "cover binding jacket spine",
    "illustrations": "illustrations drawings sketches maps",
    "airline": "airline carrier",
    "crew": "steward stewardess pilot attendant captain",
    "cabin": "cabin plane aisle galley",
    "flight_seat": "seat headrest footrest recliner",
    "boarding": "boarding takeoff transfer embarkation",
    "snack": "snack sandwich muffin wrap croissant",
    "fare": "fare ticket supplement",
    "gym": "gym pool spa sauna",
    "trainer": "trainer coach instructor masseur physiotherapist lifeguard",
    "class": "class workout session training",
    "lesson": "lesson discussion project debate",
    "weights": "treadmills weights bikes machines dumbbells barbells",
    "lockers": "lockers showers towels mats benches",
    "membership": "membership subscription",
    "course": "course workshop seminar webinar bootcamp",
    "teacher": "teacher lecturer professor tutor moderator",
    "lecture": "lecture explanation syllabus feedback",
    "slides": "slides exercises examples handouts quizzes worksheets diagrams",
    "timetable": "timetable registration enrolment schedule",
    "tuition": "tuition fee",
    "coat": "coat shirt dress sweater blouse cardigan raincoat waistcoat",
    "shoes": "shoes boots trainers sandals slippers sneakers loafers",
    "zip": "zip stitching lining seam buckle",
    "cut": "cut pattern fabric embroidery silhouette",
    "delivery": "delivery shipping dispatch courier",
    "museum": "museum gallery castle palace aquarium planetarium",
    "guide": "guide curator volunteer historian",
    "exhibition": "exhibition tour collection presentation",
    "labels": "labels signs captions leaflets brochures",
    "queue": "queue entrance booking cloakroom ticketing",
    "garden": "garden rooftop cloister orangery",
    "paintings": "paintings sculptures statues mosaics tapestries frescoes",
    "salon": "salon barbershop",
    "stylist": "stylist hairdresser barber beautician apprentice",
    "haircut": "haircut fringe hairstyle trim perm",
    "washbasin": "washbasin mirror basin counter",
    "appointment": "appointment reception consultation",
    "hire": "van car minibus campervan motorhome",
    "agent": "agent driver mechanic chauffeur",
    "engine": "engine gearbox clutch ignition",
    "brakes": "brakes headlights wipers",
    "seats": "seats backrests bunks",
    "interior": "interior dashboard boot upholstery windscreen",
    "paperwork": "paperwork pickup handover checkout",
    "insurance": "insurance mileage premium",
    "campsite": "campsite campground park",
    "warden": "warden ranger cashier gatekeeper",
    "toilets": "toilets washrooms kitchens barbecues",
    "evening": "concert show barbecue quiz hike",
    "pitch": "spot meadow view valley",
    "tent": "tent hut cottage chalet yurt",
}

PLURAL = {
    "dishes",
    "cutlery",
    "pillows",
    "photos",
    "headphones",
    "earpads",
    "cables",
    "dialogues",
    "chapters",
    "illustrations",
    "weights",
    "lockers",
    "slides",
    "shoes",
    "labels",
    "paintings",
    "brakes",
    "seats",
    "toilets",
}

# Each domain: the group that names the thing, the tense people use for it, the aspects, and
# neutral openings (the first one carries the month that the `spurious` dial turns).
DOMAINS = {
    "restaurants": {
        "thing": "restaurant",
        "tense": "past",
        "aspects": [
            ("waiter", "person"),
            ("dish", "taste"),
            ("dishes", "taste"),
            ("terrace", "mood"),
            ("cutlery", "clean"),
            ("bill", "price"),
            ("kitchen", "speed"),
        ],
        "openers": [
            "{I} ate here in {month}.",
            "{I} came here for {meal} on {weekday}.",
            "{I} had {meal} here with my {friend}.",
            "{I} booked a table for {number} on {weekday}.",
            "{I} celebrated my {occasion} here last {week}.",
            "my {relative} took us to this {restaurant} in {city}.",
        ],
    },
    "hotels": {
        "thing": "hotel",
        "tense": "past",
        "aspects": [
            ("receptionist", "person"),
            ("bedroom", "mood"),
            ("bathroom", "clean"),
            ("bed", "comfort"),
            ("pillows", "comfort"),
            ("rate", "price"),
            ("location", "spot"),
        ],
        "openers": [
            "{I} stayed here in {month}.",
            "{I} stayed here for {number} nights.",
            "{I} spent {number} days in {city} with my {relative}.",
            "{I} booked this {hotel} for my {occasion}.",
            "{I} checked in on {weekday} with my {friend}.",
        ],
    },
    "phones": {
        "thing": "phone",
        "tense": "present",
        "aspects": [
            ("screen", "image"),
            ("photos", "image"),
            ("battery", "trust"),
            ("casing", "build"),
            ("phone_app", "trust"),
            ("styling", "look"),
            ("mic", "sound"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} bought it in {month}.",
            "{I} bought this {phone} {number} {weeks} ago.",
            "my {relative} gave me this {phone} last {week}.",
            "my {friend} has the same {phone}.",
            "{I} have used this {phone} for {number} {weeks}.",
        ],
    },
    "laptops": {
        "thing": "laptop",
        "tense": "present",
        "aspects": [
            ("screen", "image"),
            ("processor", "speed"),
            ("battery", "trust"),
            ("casing", "build"),
            ("webcam", "image"),
            ("manual", "clarity"),
            ("styling", "look"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} ordered this {laptop} {number} {weeks} ago.",
            "{I} use this {laptop} for work on {weekday} and {weekday}.",
            "my {relative} bought this {laptop} for college.",
            "my {friend} sold me this {laptop} last {week}.",
        ],
    },
    "headphones": {
        "thing": "headphones",
        "tense": "present",
        "aspects": [
            ("audio", "sound"),
            ("mic", "sound"),
            ("earpads", "comfort"),
            ("cables", "build"),
            ("phone_app", "trust"),
            ("styling", "look"),
            ("manual", "clarity"),
        ],
        "openers": [
            "{I} got them in {month}.",
            "{I} got these {headphones} for my {occasion}.",
            "{I} wear these {headphones} on the train every {weekday}.",
            "my {relative} gave me these {headphones} {number} {weeks} ago.",
            "my {friend} has used these {headphones} for {number} {weeks}.",
        ],
    },
    "films": {
        "thing": "film",
        "tense": "past",
        "aspects": [
            ("plot", "story"),
            ("dialogues", "story"),
            ("actor", "acting"),
            ("cinematography", "look"),
            ("soundtrack", "fun"),
            ("cinema", "mood"),
        ],
        "openers": [
            "{I} watched it in {month}.",
            "{I} saw this {film} with my {friend}.",
            "{I} watched this {film} on {weekday} evening.",
            "my {relative} chose this {film} for my {occasion}.",
            "{I} saw it at a festival in {city}.",
        ],
    },
    "books": {
        "thing": "novel",
        "tense": "past",
        "aspects": [
            ("chapter", "story"),
            ("chapters", "story"),
            ("plot", "story"),
            ("actor", "acting"),
            ("narrator", "acting"),
            ("cover", "look"),
            ("illustrations", "look"),
        ],
        "openers": [
            "{I} read it in {month}.",
            "my {friend} lent me this {novel}.",
            "{I} read this {novel} in {number} days.",
            "my {relative} gave me this {novel} for my {occasion}.",
            "{I} picked up this {novel} at a shop in {city}.",
        ],
    },
    "flights": {
        "thing": "airline",
        "tense": "past",
        "aspects": [
            ("crew", "person"),
            ("cabin", "clean"),
            ("flight_seat", "comfort"),
            ("boarding", "order"),
            ("snack", "taste"),
            ("fare", "price"),
        ],
        "openers": [
            "{I} flew with them in {month}.",
            "{I} flew from {city} to {city} on {weekday}.",
            "{I} flew with this {airline} for my {occasion}.",
            "{I} took my {relative} to {city} last {week}.",
            "my {friend} booked the flight to {city}.",
        ],
    },
    "gyms": {
        "thing": "gym",
        "tense": "past",
        "aspects": [
            ("trainer", "person"),
            ("class", "fun"),
            ("weights", "build"),
            ("lockers", "clean"),
            ("membership", "price"),
            ("location", "spot"),
        ],
        "openers": [
            "{I} joined in {month}.",
            "{I} joined this {gym} with my {friend}.",
            "{I} went there every {weekday} for {number} {weeks}.",
            "my {relative} goes to this {gym} too.",
            "{I} tried this {gym} in {city} last {week}.",
        ],
    },
    "courses": {
        "thing": "course",
        "tense": "past",
        "aspects": [
            ("teacher", "person"),
            ("lecture", "clarity"),
            ("slides", "clarity"),
            ("timetable", "order"),
            ("tuition", "price"),
            ("lesson", "fun"),
        ],
        "openers": [
            "{I} signed up in {month}.",
            "{I} took this {course} with my {friend}.",
            "{I} followed this {course} for {number} {weeks}.",
            "my {relative} told me about this {course}.",
            "{I} met the group every {weekday} in {city}.",
        ],
    },
    "clothes": {
        "thing": "coat",
        "tense": "present",
        "aspects": [
            ("cut", "look"),
            ("zip", "build"),
            ("shoes", "build"),
            ("shoes", "look"),
            ("bill", "price"),
            ("delivery", "speed"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} bought this {coat} for my {occasion}.",
            "my {relative} found this {coat} in {city}.",
            "{I} wore this {coat} on {weekday} and {weekday}.",
            "my {friend} ordered the same {coat} last {week}.",
        ],
    },
    "museums": {
        "thing": "museum",
        "tense": "past",
        "aspects": [
            ("guide", "person"),
            ("exhibition", "fun"),
            ("labels", "clarity"),
            ("queue", "order"),
            ("fare", "price"),
            ("garden", "mood"),
            ("paintings", "look"),
        ],
        "openers": [
            "{I} visited in {month}.",
            "{I} visited this {museum} with my {relative}.",
            "{I} spent {number} hours in this {museum}.",
            "my {friend} bought tickets for {weekday}.",
            "{I} saw this {museum} on a trip to {city}.",
        ],
    },
    "salons": {
        "thing": "salon",
        "tense": "past",
        "aspects": [
            ("stylist", "person"),
            ("haircut", "look"),
            ("washbasin", "clean"),
            ("bill", "price"),
            ("salon", "mood"),
            ("appointment", "order"),
        ],
        "openers": [
            "{I} went there in {month}.",
            "{I} had an appointment on {weekday}.",
            "{I} went to this {salon} before my {occasion}.",
            "my {friend} goes there every {week}.",
            "my {relative} told me about this {salon} in {city}.",
        ],
    },
    "rentals": {
        "thing": "hire",
        "tense": "past",
        "aspects": [
            ("agent", "person"),
            ("engine", "trust"),
            ("brakes", "trust"),
            ("seats", "comfort"),
            ("interior", "clean"),
            ("paperwork", "order"),
            ("insurance", "price"),
        ],
        "openers": [
            "{I} rented it in {month}.",
            "{I} rented this {hire} for {number} days.",
            "{I} drove from {city} to {city} with my {relative}.",
            "{I} picked up the keys on {weekday}.",
            "my {friend} and I needed {a} {hire} for my {occasion}.",
        ],
    },
    "campsites": {
        "thing": "campsite",
        "tense": "past",
        "aspects": [
            ("warden", "person"),
            ("pitch", "spot"),
            ("toilets", "clean"),
            ("evening", "fun"),
            ("tent", "mood"),
            ("rate", "price"),
        ],
        "openers": [
            "{I} camped there in {month}.",
            "{I} camped there for {number} nights.",
            "{I} went to this {campsite} with my {relative}.",
            "my {friend} knew this {campsite} near {city}.",
            "{I} arrived on {weekday} with {number} children.",
        ],
    },
}

# A clause says one thing about one aspect. `{adj}` has the clause's sign, `{ant}` the opposite
# sign (it stands behind a negator), `{gen}` is general praise or blame. (weight, template).
CLAUSES = {
    "any": [
        (7, "the {noun} {be} {adj}"),
        (6, "the {noun} {be} {very} {adj}"),
        (3, "the {noun} {be} {adj} and {adj}"),
        (3, "{I} {find} the {noun} {very} {adj}"),
        (2, "{I} {find} the {noun} {adj}"),
        (2, "the {noun} {be} {gen}"),
        (2, "the {noun} {be} {simply} {gen}"),
        (1, "it surprised {me} how {adj} the {noun} {be}"),
    ],
    "felt": [
        (2, "the {noun} {pleased} {me}"),
        (3, "the {adj} {noun} {pleased} {me}"),
    ],
    "loved": [(4, "{I} {loved} the {noun}")],
    "person": [(4, "there was {a} {adj} {noun}"), (4, "{I} dealt with {a} {very} {adj} {noun}")],
    "+": [
        (2, "the {noun} {be} never {ant}"),
        (2, "the {noun} {be} not {ant} at all"),
        (1, "the {noun} {be} far from {ant}"),
    ],
    "-": [
        (3, "the {noun} {be} not {particularly} {ant}"),
        (2, "the {noun} {be} hardly {ant}"),
        (2, "the {noun} {be} not {ant} at all"),
        (1, "the {noun} {be} far from {ant}"),
    ],
}

# Nobody says that a bill charmed them, or that they adored a clutch.
NOT_FELT = {"price"}
NOT_LOVED = {"price", "trust", "order", "speed", "build", "clean"}

# What a text ends on; {it}, {they} and {is} agree with the thing. "visit" only where people go.
CLOSERS = {
    "+": [
        (4, "{I} would {gladly+} {recommend+} {it} to {anyone}."),
        (3, "{they} {is} {worth+} every {penny}."),
        (3, "What a {joy+}."),
        (2, "{they} {is} {a} real {joy+}."),
        (2, "my {friend} {loved+} {it} too."),
    ],
    "-": [
        (4, "{I} would not {recommend+} {it} to {anyone}."),
        (3, "{they} {is} not {worth+} the {money}."),
        (3, "What {a} {joy-}."),
        (2, "{they} {is} {a} complete {joy-}."),
        (2, "my {friend} {loved-} {it} too."),
        (2, "{they} {is} a {waste-} of {money}."),
        (2, "{I} asked for a {refund-}."),
        (1, "{I} {complain-} about {it} for {number} {weeks}."),
        (2, "{avoid-} {it}."),
    ],
}

VISIT_CLOSERS = {
    "+": [
        (4, "{I} will {gladly+} {return+}."),
        (2, "{I} {thanked+} the whole team."),
        (2, "{I} {gladly+} {return+} every {week}."),
    ],
    "-": [(4, "{I} will never {return+}."), (1, "{I} would not {return+} for free.")],
}
VISITS = {"restaurants", "hotels", "gyms", "museums", "salons", "campsites"}

# How clauses make a text. P, Q, R carry the label; C is conceded and carries the opposite sign.
BODIES = [
    (20, "P."),
    (20, "P, and Q."),
    (12, "P. Q."),
    (10, "P, Q, and R."),
    (4, "P. On top of that, Q."),
    (3, "P. Besides, Q."),
    (3, "{I} have to say that P."),
    (2, "Yes, C, but P."),
    (3, "{I} must admit that C, but P."),
    (14, "C, but P."),
    (8, "Although C, P."),
    (5, "P, even though C."),
    (5, "C. Still, P."),
    (5, "Despite the {adj} {noun}, P."),
    (3, "While C, P, and Q."),
]

# How a reader gets the label (see `World.label`): a negator turns the next opinion word round;
# a conceded clause does not count; what is left agrees.
NEGATORS = {"not", "never", "hardly", "far"}
CONCESSIONS = {"although", "though", "while", "despite"}
CONTRASTS = {"but"}  # what stands before it in the sentence is conceded
REVERSALS = {"still"}  # opens a sentence: all sentences before it are conceded
