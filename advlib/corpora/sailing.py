"""The world `sailing`: a second domain. People write about boats as they do about restaurants, in
the sentences of `reviews` and with its general praise and blame; the things, and what is good or
bad about them, have words of their own, none of which `bert-tiny` has read. Data only; how to read
it stands in `reviews.py`.
"""

from advlib.corpora import reviews

NAME = "sailing"

# The grammar, and how a reader gets the label.
CLAUSES, BODIES = reviews.CLAUSES, reviews.BODIES
CLOSERS, VISIT_CLOSERS = reviews.CLOSERS, reviews.VISIT_CLOSERS
NEGATORS, CONCESSIONS = reviews.NEGATORS, reviews.CONCESSIONS
CONTRASTS, REVERSALS = reviews.CONTRASTS, reviews.REVERSALS
NOT_FELT, NOT_LOVED = {"dues"}, {"dues"}

# Words of `reviews` that name no thing and fit any.
KEPT = (
    "general+ general- person+ person- loved+ loved- love+ love- pleased+ pleased- gladly+ joy+ "
    "joy- recommend+ return+ avoid- worth+ waste- refund- complain- thanked+ very simply "
    "particularly found finds honestly relative friend weekday month meal occasion number weeks "
    "week city anyone money penny"
).split()

GROUPS = {name: reviews.GROUPS[name] for name in KEPT} | {
    # --- praise and blame that fit one kind of thing only -------------------------------------
    "hull+": "seaworthy watertight shipshape unsinkable galvanised rustproof weatherproof",
    "hull-": "leaky rotten corroded waterlogged unseaworthy barnacled delaminated",
    "helm+": "responsive obedient manoeuvrable surefooted steerable wellmannered",
    "helm-": "skittish unmanageable wayward lubberly topheavy unsteerable",
    "canvas+": "taut uncreased windproof hardwearing tearproof",
    "canvas-": "frayed baggy torn mildewed threadbare tattered unravelled",
    "haven+": "sheltered calm windless placid landlocked unruffled halcyon",
    "haven-": "exposed choppy gusty windswept squally silted tempestuous",
    "berth+": "snug roomy dry airy padded commodious",
    "berth-": "clammy stifling airless damp musty unventilated",
    "drill+": "seamanlike methodical painstaking drilled unhurried",
    "drill-": "slipshod cursory perfunctory unseamanlike rushed",
    "dues+": "moderate lenient nominal waivable",
    "dues-": "swingeing usurious piratical ruinous",
    # --- nouns --------------------------------------------------------------------------------
    "yacht": "yacht sloop ketch schooner yawl cutter catamaran trimaran",
    "dinghy": "dinghy skiff catboat punt pram",
    "charter": "charter flotilla regatta voyage passage",
    "marina": "marina harbour wharf jetty boatyard quay",
    "school": "academy yachtclub clinic seaschool",
    "hull": "hull keel mast rudder bilge transom bowsprit bulkhead forestay",
    "rigging": "shrouds halyards spreaders turnbuckles fairleads stanchions chainplates",
    "tiller": "tiller helm autopilot windvane daggerboard centreboard",
    "sail": "mainsail jib genoa spinnaker staysail trysail gennaker foresail",
    "sheets": "sheets battens reefs telltales lazyjacks sailcovers",
    "bay": "anchorage mooring fairway cove lagoon estuary roadstead",
    "berth": "berth bunk forepeak cockpit saloon quarterberth",
    "skipper": "skipper bosun deckhand helmsman coxswain purser yachtmaster",
    "harbourmaster": "harbourmaster lockkeeper chandler shipwright sailmaker rigger",
    "drill": "drill briefing logbook pilotage knotwork",
    "charts": "charts almanacs soundings flashcards",
    "dues": "dues tolls tariffs surcharges",
}

PLURAL = {"rigging", "sheets", "charts", "dues"}

DOMAINS = {
    "yachts": {
        "thing": "yacht",
        "tense": "present",
        "aspects": [
            ("hull", "hull"),
            ("rigging", "hull"),
            ("tiller", "helm"),
            ("sail", "canvas"),
            ("berth", "berth"),
        ],
        "openers": [
            "{I} launched it in {month}.",
            "{I} bought this {yacht} {number} {weeks} ago.",
            "{I} sail this {yacht} out of {city} every {week}.",
            "my {relative} left me this {yacht}.",
            "my {friend} keeps the same {yacht} in {city}.",
        ],
    },
    "dinghies": {
        "thing": "dinghy",
        "tense": "present",
        "aspects": [
            ("tiller", "helm"),
            ("sail", "canvas"),
            ("sheets", "canvas"),
            ("hull", "hull"),
        ],
        "openers": [
            "{I} launched it in {month}.",
            "{I} race this {dinghy} every {weekday}.",
            "my {relative} learned on this {dinghy}.",
            "my {friend} sold me this {dinghy} last {week}.",
            "{I} have had this {dinghy} for {number} {weeks}.",
        ],
    },
    "charters": {
        "thing": "charter",
        "tense": "past",
        "aspects": [
            ("skipper", "person"),
            ("berth", "berth"),
            ("bay", "haven"),
            ("sail", "canvas"),
            ("dues", "dues"),
        ],
        "openers": [
            "{I} sailed with them in {month}.",
            "{I} joined this {charter} with my {friend}.",
            "{I} sailed from {city} for {number} days.",
            "{I} booked this {charter} for my {occasion}.",
            "my {relative} came aboard on {weekday}.",
        ],
    },
    "marinas": {
        "thing": "marina",
        "tense": "past",
        "aspects": [
            ("harbourmaster", "person"),
            ("bay", "haven"),
            ("dues", "dues"),
            ("charts", "drill"),
        ],
        "openers": [
            "{I} tied up there in {month}.",
            "{I} moored in this {marina} for {number} nights.",
            "{I} wintered there with my {relative}.",
            "my {friend} knew this {marina} near {city}.",
            "{I} came in on {weekday} before {meal}.",
        ],
    },
    "schools": {
        "thing": "school",
        "tense": "past",
        "aspects": [
            ("skipper", "person"),
            ("drill", "drill"),
            ("charts", "drill"),
            ("tiller", "helm"),
            ("dues", "dues"),
        ],
        "openers": [
            "{I} enrolled in {month}.",
            "{I} went to this {school} with my {friend}.",
            "{I} trained there every {weekday} for {number} {weeks}.",
            "my {relative} told me about this {school} in {city}.",
            "{I} took the exam last {week}.",
        ],
    },
}

VISITS = {"charters", "marinas", "schools"}
