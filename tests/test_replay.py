"""The replay of a search: what it shows, that a model's words can't break out of it, and that it works in a browser."""

import itertools
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
from conftest import LengthReward, make_policy

from latentseek_core import Problem, Score, SeekConfig, seek, seek_steps
from latentseek_core.analyses.replay import alternatives, new_tokens, replay_html
from latentseek_core.seek import SeekStep

PROBLEM = Problem("7", "How many words?", "3", "tiny-gsm")
CONFIG = SeekConfig(rho=0.4, learning_rate=0.3, max_iterations=4, max_new_tokens=20)
EVIL = "</span></script><script>window.broken=1</script><img src=x onerror=window.broken=2>{{ 7*7 }}&amp;\"'"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Reading(HTMLParser):
    """Elements of a page by class, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.classes, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.classes += (dict(attrs).get("class") or "").split()

    def handle_data(self, data):
        self.words.append(data)


def reward(problems, answers):
    return [Score(value, {"sums": value > -0.6, "<b>plan</b>": None}) for value in LengthReward()(problems, answers)]


def searched():
    policy = make_policy()
    return policy, list(seek_steps(policy, PROBLEM, reward, CONFIG, prompt_ids=[7, 8, 9]))


def evil_step(policy, iteration=0, **changes) -> SeekStep:
    ids = policy.encode(EVIL)
    values = {"reward": -1.0, "checks": {EVIL: False}, "loss": None, "latent_norm": 1.0, "changed": []} | changes
    return SeekStep(iteration, ids[:5], ids, f"\\boxed{{{EVIL}}}", **values)


def test_every_step_is_there_and_only_the_first_is_shown():
    policy, steps = searched()
    page = Reading(replay_html(policy, PROBLEM, steps, config=CONFIG))
    articles = [attributes for tag, attributes in page.tags if tag == "article"]
    assert len(articles) == len(steps) > 2
    assert ["hidden" in attributes for attributes in articles] == [False] + [True] * (len(steps) - 1)
    assert next(a for tag, a in page.tags if tag == "input")["max"] == str(len(steps) - 1)
    # One sample of each kind is in the legend.
    assert page.classes.count("ls-flipped") == 1 + sum(len(step.changed) for step in steps) > 1
    assert page.classes.count("ls-latent") == 2 + sum(len(step.prefix_ids) for step in steps)
    assert page.classes.count("ls-choice") == 5 * sum(len(step.prefix_ids) for step in steps)
    text = "".join(page.words)
    for step in steps:
        assert f"{step.reward:.2f}" in text
    assert text.count("? unreadable") == len(steps)


def test_needs_nothing_from_elsewhere():
    policy, steps = searched()
    page = replay_html(policy, PROBLEM, steps, config=CONFIG)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.replace("// A page's", ""))
    assert not [tag for tag, attributes in Reading(page).tags if tag == "link" or {"src", "href"} & set(attributes)]
    assert page == replay_html(policy, PROBLEM, steps, config=CONFIG)


def test_a_models_words_stay_words():
    policy = make_policy()
    plain, evil = (replay_html(policy, problem, [evil_step(policy)]) for problem in (PROBLEM, Problem(EVIL, EVIL, EVIL, EVIL)))
    tags = [tag for tag, _ in Reading(plain).tags]
    assert [tag for tag, _ in Reading(evil).tags] == tags
    assert "img" not in tags
    assert tags.count("script") == 1
    assert EVIL in "".join(Reading(evil).words)


def test_the_likeliest_token_is_the_one_that_was_read():
    policy, steps = searched()
    for step in steps:
        choices = alternatives(policy, step.latents[: len(step.prefix_ids)], top=4)
        assert [tokens[0][0] for tokens in choices] == step.prefix_ids
        expected = policy.head(step.latents).softmax(-1)
        for latent, tokens in zip(expected, choices, strict=False):
            assert [p for _, p in tokens] == pytest.approx([latent[token].item() for token, _ in tokens], abs=1e-6)
            assert [p for _, p in tokens] == sorted((p for _, p in tokens), reverse=True)
            assert min(p for _, p in tokens) >= latent.sort(descending=True).values[4].item()


def test_new_tokens_are_those_without_a_partner():
    assert new_tokens([1, 2, 3], [1, 9, 2, 3]) == {1}
    assert new_tokens([1, 2], [1, 2]) == set()
    assert new_tokens([], [4, 5]) == {0, 1}
    assert new_tokens([1, 2, 3], [3]) == set()


def test_a_result_without_latents_is_shown_without_alternatives():
    policy = make_policy()
    (result,) = seek(policy, [PROBLEM], LengthReward(), CONFIG, prompt_ids=[[7, 8, 9]], progress=False)
    page = Reading(replay_html(policy, PROBLEM, result, config=CONFIG))
    assert "ls-choice" not in page.classes
    text = "".join(page.words)
    assert "no latents were kept" in text
    assert "This reward consists of no checks." in text


def test_an_answer_is_graded_as_the_prompt_asks():
    policy = make_policy()
    base = {"checks": {}, "loss": None, "latent_norm": 1.0, "changed": []}
    for text, prompt, right in [(r"\boxed{3}", "boxed", True), ('{"final answer": 3}', "json", True), ("3", "boxed", False)]:
        step = SeekStep(0, [], policy.encode(text), text, 0.0, **base)
        words = "".join(Reading(replay_html(policy, PROBLEM, [step], prompt=prompt)).words)
        assert ("✓ right" in words, "✗ wrong" in words) == (right, not right)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="a replay needs at least one step"):
        replay_html(make_policy(), PROBLEM, [])


class Browser:
    """A headless Chromium, spoken to over two pipes: pages are opened and keys pressed as by a reader."""

    def __init__(self, folder):
        (theirs_in, self.out), (self.inn, theirs_out) = os.pipe(), os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
        flags += f" --disable-sync --disable-quic --remote-debugging-pipe --user-data-dir={folder}"
        call = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", CHROMIUM, *flags.split()]
        self.process = subprocess.Popen(
            call, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.numbers, self.rest, self.events, self.session = itertools.count(1), b"", [], {}
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def __call__(self, method, **params):
        number = next(self.numbers)
        os.write(self.out, json.dumps({"id": number, "method": method, "params": params} | self.session).encode() + b"\0")
        while (message := self.read()).get("id") != number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def read(self):
        while b"\0" not in self.rest:
            chunk = os.read(self.inn, 65536)
            assert chunk, "the browser has gone"
            self.rest += chunk
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, path):
        self("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode={"ArrowLeft": 37, "Tab": 9}.get(key, 39),
            )

    def tell(self, expression):
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    @property
    def complaints(self):
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Network.loadingFailed")
        return [event for event in self.events if event["method"] in kinds]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        os.close(self.out)
        os.close(self.inn)


@pytest.fixture
def browser(tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


VISIBLE = "[...document.querySelectorAll('.ls-replay')].map(r => [...r.querySelectorAll('.ls-step')].flatMap((s, i) => s.offsetHeight ? [i] : []))"
PANEL = "document.querySelectorAll('.ls-panel')[0].innerText"


@pytest.mark.slow
def test_works_from_a_file_by_keys_and_buttons(browser, tmp_path):
    policy, steps = searched()
    last = len(steps) - 1
    page = tmp_path / "replay.html"
    page.write_text(replay_html(policy, PROBLEM, steps, config=CONFIG), encoding="utf-8")
    browser.open(page)
    assert browser.tell(VISIBLE) == [[0]]
    browser.press("ArrowRight")
    assert browser.tell(VISIBLE) == [[1]]
    assert browser.tell("document.querySelector('output').textContent").startswith(f"Step 1 of {last}: ")
    for _ in range(last + 2):
        browser.press("ArrowRight")
    assert browser.tell(VISIBLE) == [[last]]
    browser.press("ArrowLeft")
    assert browser.tell(VISIBLE) == [[last - 1]]
    browser.tell("document.querySelector('.ls-next').click()")
    assert browser.tell(VISIBLE) == [[last]]
    browser.tell("document.querySelector('.ls-back').click(); document.querySelector('input').focus()")
    browser.press("ArrowLeft")  # on the slider, once and not twice
    assert browser.tell(VISIBLE) == [[last - 2]]
    browser.press("Tab")  # over the second button to the first token
    browser.press("Tab")
    assert browser.tell(PANEL).startswith("Latent 1")
    assert len(browser.tell(PANEL).splitlines()) >= 5
    browser("Emulation.setDeviceMetricsOverride", width=390, height=1400, deviceScaleFactor=1, mobile=True)
    assert browser.tell("innerWidth") == 390
    assert browser.tell("document.documentElement.scrollWidth") == 390
    assert not browser.complaints


@pytest.mark.slow
def test_two_on_a_page_go_their_own_ways_and_run_nothing_of_a_models(browser, tmp_path):
    policy, steps = searched()
    evil = [evil_step(policy), evil_step(policy, 1, changed=[1], latents=torch.randn(5, 32))]
    pages = [replay_html(policy, PROBLEM, steps, config=CONFIG), replay_html(policy, Problem(EVIL, EVIL, EVIL, EVIL), evil)]
    page = tmp_path / "two.html"
    page.write_text("<!doctype html><meta charset=utf-8>" + "".join(f"<div>{part}</div>" for part in [*pages, pages[1]]), "utf-8")
    browser.open(page)
    browser.press("ArrowRight")  # nobody's
    assert browser.tell(VISIBLE) == [[0], [0], [0]]
    browser.tell("document.querySelectorAll('.ls-next')[1].focus()")
    browser.press("ArrowRight")
    assert browser.tell(VISIBLE) == [[0], [1], [0]]
    browser.tell("document.querySelectorAll('.ls-next')[2].click()")
    browser.tell("document.querySelectorAll('.ls-step')[0].querySelector('[data-position]').focus()")
    browser.press("ArrowRight")
    assert browser.tell(VISIBLE) == [[1], [1], [1]]
    assert browser.tell("window.broken === undefined && document.images.length === 0")
    assert not browser.complaints
