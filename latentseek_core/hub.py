"""The hub, where it can be reached: asked once and briefly, instead of again and again by each library that would use it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import huggingface_hub

# Seconds that the hub has for a first answer; the libraries by themselves would ask for a minute and more.
PATIENCE = 8.0


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Has the libraries look in their caches alone where the hub gives no answer."""
    places = [huggingface_hub.constants]
    if "datasets" in sys.modules:  # it has a flag of its own
        places.append(sys.modules["datasets"].config)
    before = [place.HF_HUB_OFFLINE for place in places]
    offline = any(before) or not answers()
    try:
        for place in places:
            place.HF_HUB_OFFLINE = offline
        yield
    finally:
        for place, flag in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = flag


def answers() -> bool:
    """Whether the hub answers at all; asked in a thread, since name look-up and many addresses can outlast a request's time limit."""
    heard = []

    def ask() -> None:
        with suppress(Exception):  # Whatever the reason, offline mode included: no answer.
            heard.append(huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE))

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(heard)
