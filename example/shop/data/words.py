"""What the sample data is made of."""

FIRST_NAMES = (
    "Ada", "Amara", "Björn", "Chiara", "Daisuke", "Elif", "Émile", "Farah", "Goran", "Hana", "Ines", "Jakub", "Kofi",
    "Lena", "Mateo", "Nadia", "Oisín", "Priya", "Rosa", "Søren", "Tariq", "Uma", "Viktor", "Wanjiru", "Ximena", "Yusuf",
    "Zoë",
)  # fmt: skip
LAST_NAMES = (
    "Adeyemi", "Berg", "Castillo", "Dąbrowski", "Eriksen", "Fontaine", "Gupta", "Haddad", "Ivanova", "Jensen", "Kimura",
    "Lindqvist", "Moreau", "Nguyen", "O'Brien", "Pereira", "Quispe", "Rossi", "Schäfer", "Tanaka", "Usman", "Vance",
    "Wolff", "Yilmaz", "Zhang",
)  # fmt: skip
CITIES = (
    "Accra",
    "Bergen",
    "Cusco",
    "Dublin",
    "Espoo",
    "Florence",
    "Gdańsk",
    "Hanoi",
    "İzmir",
    "Kyoto",
    "Lisbon",
)
COUNTRIES = ("DE", "ES", "FR", "GH", "IE", "IN", "IT", "JP", "NG", "NO", "PE", "PL", "PT", "TR", "VN")
ADJECTIVES = (
    "Quiet", "Hidden", "Last", "Golden", "Borrowed", "Northern", "Paper", "Distant", "Second", "Burning", "Patient",
    "Unfinished", "Winter", "Broken", "Secret", "Salted", "Crooked", "Glass", "Seventh", "Wandering",
)  # fmt: skip
NOUNS = (
    "Garden", "Archive", "River", "Clockmaker", "Harbour", "Letters", "Orchard", "Map", "Lighthouse", "Kingdom",
    "Translator", "Island", "Winter", "Cartographer", "Bridge", "Library", "Republic", "Machine", "Forest", "Atlas",
)  # fmt: skip
PLACES = (
    "Accra",
    "the North",
    "Lisbon",
    "the Delta",
    "Glass",
    "Izmir",
    "the Moon",
    "Ash",
    "the Interior",
    "Kyoto",
)
PUBLISHERS = (
    "Aldine", "Blue Heron", "Cormorant", "Driftwood", "Ember", "Foxglove", "Granite", "Halcyon", "Inkwell", "Juniper",
    "Kestrel", "Lantern", "Meridian", "Nightjar", "Orchard Lane", "Pembroke", "Quill", "Redwood", "Saltmarsh", "Tidal",
)  # fmt: skip
SHELVES = {
    "Fiction": ("Crime", "Historical", "Science fiction", "Short stories", "Poetry"),
    "Knowledge": ("History", "Nature", "Philosophy", "Mathematics", "Computing"),
    "Children": ("Picture books", "First readers", "Young adult"),
    "Life": ("Cooking", "Travel", "Gardening", "Music", "Art"),
}
LANGUAGES = ("en", "de", "fr", "ja", "pt")
REMARKS = (
    "Could not put it down.", "Slow to start, worth the wait.", "A gift that was read in one night.", "",
    "The translation is wonderful.", "Not for me.", "The maps alone are worth the price.",
)  # fmt: skip
