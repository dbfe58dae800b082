"""A small set of notes and questions with judged answers, to see what each way of searching finds.

Written for this: notes of three people about their work, homes and errands, short and long, with look-alikes beside each other
(numbers that differ by a digit, names by a letter). Each question has the names of all notes that answer it. The kinds:
`exact` (an identifier or a rare word), `inflected` (other forms of the words), `misspelt`, `subword` (the answer shares parts of
words: compounds, derived words), `mixed` (two of these at once, with an answer for each).
"""

from typing import Final

NOTES: Final[dict[str, str]] = {
    "e4711": "Error E4711 means that the access token has expired",
    "e4712": "Error E4712 means that the access token was revoked",
    "e4721": "Error E4721 means that the clock of the client is wrong",
    "e7411": "Error E7411 is shown when the printer has no paper",
    "port5433": "The billing database runs on port 5433 on host db-7",
    "port5434": "The reporting database runs on port 5434 on host db-8",
    "port8443": "The admin console listens on port 8443 behind the VPN",
    "inv-20931": "Invoice INV-20931 over 1,250 euros was paid late by Norbert & Sons",
    "inv-20913": "Invoice INV-20913 over 1,250 euros is still open at Norbert & Sons",
    "rfc8785": "We canonicalise JSON by RFC 8785 before it is signed",
    "rfc9110": "Retries follow RFC 9110: only what is idempotent is sent again",
    "kettle": "The kettle in the kitchen on the third floor trips the fuse",
    "wifi": "The guest Wi-Fi is called Lighthouse and its word is on the fridge",
    "friday": "Nothing is deployed on Fridays after noon",
    "deploy-fail": "The deployment of the billing service failed because a migration had locked the ledger table",
    "deploy-how": "Deploys start from the main branch and are approved by one reviewer",
    "rollback": "A rollback takes four minutes and keeps the database as it is",
    "backup": "Backups of all databases are taken nightly and restored once a month to see that they work",
    "replica": "The replica in Lyon lags behind by two seconds at most",
    "certificate": "The certificate of the gateway expires in March and is renewed by hand",
    "queue": "Jobs that failed three times go to the dead letter queue and are looked at on Mondays",
    "cache": "The cache is emptied whenever prices change",
    "logs": "Logs are kept for thirty days and then archived to cold storage",
    "alert": "An alert rings when more than one per cent of requests fail for five minutes",
    "oncall": "On call this week: Mira until Wednesday, then Tomasz",
    "timeouts": "Timeouts of the payment provider are retried twice with growing pauses",
    "refund": "Refunds above 500 euros need a second signature from accounting",
    "vat": "The VAT number of the company ends in 417",
    "supplier": "Our paper comes from Birkenfeld; they deliver on Tuesdays",
    "contract": "The contract with the hosting company is cancelled three months before it ends",
    "ana-answers": "Ana prefers short answers with examples",
    "ana-home": "Ana lives in Lyon, near the old silk market",
    "ana-sister": "Ana's sister Mirabel teaches mathematics in Grenoble",
    "ana-allergy": "Ana is allergic to walnuts and to penicillin",
    "ana-bike": "Ana cycles to work unless it snows",
    "ana-languages": "Ana speaks French, German and a little Polish",
    "ana-piano": "Ana practises the piano on Sunday mornings",
    "bob-coffee": "Bob drinks his coffee black and never after four",
    "bob-flight": "Bob's flight LH1187 to Warsaw leaves at 6:40 on the 14th",
    "bob-flight2": "Bob's flight LH1178 from Warsaw lands at 22:15 on the 16th",
    "bob-passport": "Bob's passport runs out in 2031",
    "bob-dog": "Bob's dog Biscuit is afraid of thunderstorms",
    "bob-vegetarian": "Bob has been a vegetarian since 2019",
    "bob-garden": "Bob grows tomatoes and beans on his balcony",
    "bob-glasses": "Bob forgets his reading glasses at every meeting",
    "carla-car": "Carla's car is a green van with the plate GR-482-KT",
    "carla-plate": "Carla's old plate was GR-428-KT",
    "carla-house": "Carla renovates a farmhouse with a leaking roof near Parma",
    "carla-thesis": "Carla wrote her thesis on the photosynthesis of algae",
    "carla-boat": "Carla sails a wooden boat that her grandfather built",
    "carla-tea": "Carla collects teapots from Japan",
    "carla-doctor": "Carla sees her dentist on the first Thursday of May",
    "carla-marathon": "Carla ran the marathon of Bologna in under four hours",
    "recipe-bread": "Bread: 500 g flour, 350 g water, 10 g salt, 2 g yeast, and a night of rest",
    "recipe-soup": "Lentil soup is better with cumin and a spoon of vinegar",
    "recipe-jam": "Apricot jam wants less sugar than the book says",
    "library": "Books from the city library are renewed on its website, twice at most",
    "heating": "The heating engineer comes on the 3rd of November between 8 and 10",
    "washing": "The washing machine stops when its filter is full of lint",
    "bins": "Paper bins are emptied on even weeks, glass on odd ones",
    "keys": "The spare key is with the neighbour in flat 12b",
    "gym": "The swimming pool is closed for repairs until the 20th",
    "train": "The night train to Vienna has sleeping cars again since December",
    "minutes-may": (
        "Minutes of the meeting in May. Present: Ana, Bob, Carla, Mira, Tomasz. We talked about the move to the new office, who"
        " sits where, the plants, the parking spaces and the opening hours of the canteen. Mira asked for a quiet room. Tomasz"
        " reported that ticket OPS-3390 is done. The budget for chairs was raised. Next meeting in June."
    ),
    "minutes-june": (
        "Minutes of the meeting in June. Present: Ana, Carla, Mira, Tomasz. We talked about the new office again, the lights, the"
        " noise from the street and the bicycle cellar. The lease was signed. Carla will order blinds. Tomasz reported that"
        " ticket OPS-3391 waits for the electrician. Next meeting in September."
    ),
    "minutes-july": (
        "Minutes of an extra meeting in July. Present: Bob, Carla. The mover Zieglowski & Co. is cheaper than the other two and"
        " brings its own boxes. Insurance is included. Bob keeps the list of what goes to the cellar, and Carla that of what is"
        " given away. The old server room is cleared by a firm that Mira knows."
    ),
    "handbook-travel": (
        "Travel, from the handbook: trains are booked in second class, flights only above six hundred kilometres. Keep all"
        " receipts. Costs are paid back with the salary of the next month. For a night away there are 28 euros. Whoever"
        " takes a car says so beforehand. Questions go to travel desk, room 2.04."
    ),
    "handbook-leave": (
        "Leave, from the handbook: thirty days a year, asked for two weeks before. Five can be taken into the next year, until"
        " the end of March. Sick notes are due on the third day. Parental leave is talked over with the head of the team and"
        " announced seven weeks ahead by form PL-7."
    ),
    "handbook-security": (
        "Security, from the handbook: lock the screen when you go. Passwords live in the password manager and nowhere else."
        " Visitors are fetched at the door. What looks odd is told to the address on the back of the badge. A lost badge is"
        " blocked at once by calling 4455."
    ),
}

QUESTIONS: Final[tuple[tuple[str, str, frozenset[str]], ...]] = tuple(
    (kind, text, frozenset(names.split()))
    for kind, text, names in (
        ("exact", "E4711", "e4711"),
        ("exact", "E4721", "e4721"),
        ("exact", "what was INV-20913 about", "inv-20913"),
        ("exact", "RFC 9110", "rfc9110"),
        ("exact", "LH1187", "bob-flight"),
        ("exact", "whose plate is GR-428-KT", "carla-plate"),
        ("exact", "OPS-3390", "minutes-may"),
        ("exact", "OPS-3391 status", "minutes-june"),
        ("exact", "Zieglowski", "minutes-july"),
        ("exact", "PL-7", "handbook-leave"),
        ("exact", "which port is 5434", "port5434"),
        ("exact", "28 euros a night", "handbook-travel"),
        ("exact", "who do I call: 4455", "handbook-security"),
        ("inflected", "deploying failing migrations", "deploy-fail"),
        ("inflected", "renewing certificates", "certificate"),
        ("inflected", "Carla renovating farmhouses", "carla-house"),
        ("inflected", "cancelling contracts", "contract"),
        ("inflected", "forgetting reading glass", "bob-glasses"),
        ("inflected", "archiving a log", "logs"),
        ("inflected", "emptying caches", "cache"),
        ("inflected", "practising pianos", "ana-piano"),
        ("inflected", "growing beans and tomato", "bob-garden"),
        ("misspelt", "alergic to wallnuts", "ana-allergy"),
        ("misspelt", "vegeterian", "bob-vegetarian"),
        ("misspelt", "photosynthesys algea", "carla-thesis"),
        ("misspelt", "thunderstroms", "bob-dog"),
        ("misspelt", "maraton Bolonga", "carla-marathon"),
        ("misspelt", "Birkenfled paper", "supplier"),
        ("misspelt", "nieghbour spare kee", "keys"),
        ("misspelt", "apricott jamm", "recipe-jam"),
        ("subword", "tea pot collection", "carla-tea"),
        ("subword", "farm house roofing", "carla-house"),
        ("subword", "swimmer pools", "gym"),
        ("subword", "mathematical teacher", "ana-sister"),
        ("subword", "sleeper trains", "train"),
        ("subword", "sailboats wood", "carla-boat"),
        ("subword", "cyclist", "ana-bike"),
        ("subword", "retrying payments", "timeouts"),
        ("mixed", "E4712 or expiring certificats", "e4712 certificate"),
        ("mixed", "OPS-3390 and the electricains", "minutes-may minutes-june"),
        ("mixed", "LH1178, and the pasport of Bob", "bob-flight2 bob-passport"),
        ("mixed", "PL-7, dentists", "handbook-leave carla-doctor"),
        ("mixed", "Zieglowski; vegeterian", "minutes-july bob-vegetarian"),
        ("mixed", "4455 thunderstroms", "handbook-security bob-dog"),
        ("mixed", "OPS-3390, alergies", "minutes-may ana-allergy"),
        ("mixed", "lost badge, renewing certificates", "handbook-security certificate"),
        ("mixed", "second class receipts, photosynthesys", "handbook-travel carla-thesis"),
        ("mixed", "canteen sailboats", "minutes-may carla-boat"),
        ("mixed", "INV-20931 refunding", "inv-20931 refund"),
    )
)
"""A kind, a question, the names of its answers."""

BEYOND_WORDS: Final = ("photosynthesys algea", "thunderstroms", "cyclist", "sailboats wood", "renewing certificates")
"""Where words alone find nothing of what was meant."""

BEYOND_LIKENESS: Final = "LH1178, and the pasport of Bob"
"""Where likeness alone finds one of two: the numbers of flights are alike, and one of them is asked for."""

BEYOND_EITHER: Final = ("PL-7, dentists", "Zieglowski; vegeterian", "4455 thunderstroms", "OPS-3390, alergies")
"""Where each alone finds one of two, with vectors of 256 dimensions: a rare word in a long note, and a word of another form."""
