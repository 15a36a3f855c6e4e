"""How answers begin, and words that are none (section 3.6 of the paper, Figure 7).

A search moves each latent without regard to its neighbours, so that what is read off them need not be a word.
"""

import re
import string

KEY = re.compile(r"^[\s`]*(?:json)?\s*\{?\s*[\"'][^\"']*[\"']\s*:\s*")
FORMULA = re.compile(r"\\[a-zA-Z]+\{[^{}]*\}|\$[^$]*\$")
MARKS = string.punctuation + "“”‘’…–"


def pieces(text: str) -> list[str]:
    """A text's words in lower case, without formulas and punctuation; "#" for a number, and for the digits within a piece.

    A JSON answer begins behind its first key, as in the paper's figure.
    """
    cut = FORMULA.sub(" ", KEY.sub("", text)).lower().split()
    stripped = [piece.strip(MARKS) for piece in cut]
    return [re.sub("[0-9]+", "#", piece) if any(map(str.isalpha, piece)) else "#" for piece in stripped if piece]


def opening(text: str) -> list[str]:
    """The first three words, "(none)" where there are fewer."""
    return [*pieces(text)[:3], "(none)", "(none)", "(none)"][:3]


def is_word(piece: str, known: str = "") -> bool:
    """Whether a piece is in wordfreq's small list of English, or stands in the text `known`, such as the question with its names."""
    from wordfreq import word_frequency

    if "#" in piece or piece == "(none)":
        return piece in ("#", "(none)")
    return word_frequency(piece.replace("’", "'"), "en", wordlist="small") > 0 or piece in known.lower()
